"""People, devices, numbers, trunks, queues, call records, sessions, audit and settings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_at", "audit", ["at"], unique=False)

    op.create_table(
        "call_records",
        sa.Column("call_id", sa.String(length=128), nullable=False),
        sa.Column("direction", sa.String(length=16), nullable=False),
        sa.Column("from_number", sa.String(length=64), nullable=True),
        sa.Column("to_number", sa.String(length=64), nullable=True),
        sa.Column("from_person", sa.String(length=64), nullable=True),
        sa.Column("to_person", sa.String(length=64), nullable=True),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("answered", sa.Double(), nullable=True),
        sa.Column("ended", sa.Double(), nullable=False),
        sa.Column("ended_by", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.String(length=32), nullable=False),
        sa.Column("queue", sa.String(length=40), nullable=True),
        sa.Column("agent", sa.String(length=64), nullable=True),
        sa.Column("waiting", sa.Double(), nullable=True),
        sa.Column("ringing", sa.Double(), nullable=True),
        sa.Column("talking", sa.Double(), nullable=True),
        sa.Column("wrap_up", sa.Double(), nullable=True),
        sa.Column("shortened", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_call_records")),
    )
    op.create_index(
        "ix_call_records_agent_started", "call_records", ["agent", "started"], unique=False
    )
    op.create_index("ix_call_records_ended", "call_records", ["ended"], unique=False)
    op.create_index(
        "ix_call_records_from_person_started",
        "call_records",
        ["from_person", "started"],
        unique=False,
    )
    op.create_index(
        "ix_call_records_queue_started",
        "call_records",
        ["queue", "started", "call_id"],
        unique=False,
    )
    op.create_index("ix_call_records_started", "call_records", ["started", "call_id"], unique=False)
    op.create_index(
        "ix_call_records_to_person_started", "call_records", ["to_person", "started"], unique=False
    )

    op.create_table(
        "house_settings",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_house_settings")),
    )
    op.create_table(
        "numbers",
        sa.Column("number", sa.String(length=8), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "number NOT LIKE '110%' AND number NOT LIKE '112%'",
            name=op.f("ck_numbers_not_an_emergency_number"),
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_numbers")),
    )
    op.create_table(
        "wrap_ups",
        sa.Column("work_id", sa.String(length=140), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("call_id", sa.String(length=128), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("work_id", "agent", name=op.f("pk_wrap_ups")),
    )
    op.create_index(op.f("ix_wrap_ups_call_id"), "wrap_ups", ["call_id"], unique=False)
    op.create_index(op.f("ix_wrap_ups_at"), "wrap_ups", ["at"], unique=False)

    op.create_table(
        "people",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("extension", sa.String(length=8), nullable=True),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("password_hash", sa.String(length=255), nullable=True),
        sa.Column("skills", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("extension", name=op.f("uq_people_extension")),
    )
    op.create_table(
        "queues",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("number", sa.String(length=8), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("calls", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_queues")),
        sa.UniqueConstraint("number", name=op.f("uq_queues_number")),
    )
    op.create_table(
        "trunks",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("host", sa.String(length=253), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("transport", sa.String(length=8), nullable=False),
        sa.Column("allowed", sa.JSON(), nullable=False),
        sa.Column("domain", sa.String(length=253), nullable=False),
        sa.Column("sip_user", sa.String(length=64), nullable=False),
        sa.Column("password", sa.String(length=255), nullable=False),
        sa.Column("main_number", sa.String(length=16), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_trunks")),
    )
    op.create_table(
        "call_legs",
        sa.Column("call_id", sa.String(length=128), nullable=False),
        sa.Column("leg", sa.String(length=128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=True),
        sa.Column("device", sa.String(length=64), nullable=True),
        sa.Column("number", sa.String(length=64), nullable=True),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("answered", sa.Double(), nullable=True),
        sa.Column("ended", sa.Double(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("packets", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("jitter_ms", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["call_id"],
            ["call_records.call_id"],
            name=op.f("fk_call_legs_call_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("call_id", "leg", name=op.f("pk_call_legs")),
    )
    op.create_table(
        "devices",
        sa.Column("sip_user", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=True),
        sa.Column("ha1_md5", sa.String(length=32), nullable=False),
        sa.Column("ha1_sha256", sa.String(length=64), nullable=False),
        sa.Column("behind_nat", sa.Boolean(), nullable=False),
        sa.Column("site_number", sa.String(length=16), nullable=True),
        sa.ForeignKeyConstraint(
            ["person"], ["people.id"], name=op.f("fk_devices_person"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("sip_user", name=op.f("pk_devices")),
    )
    op.create_index("ix_devices_person", "devices", ["person"], unique=False)

    op.create_table(
        "idempotency_keys",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("request_key", sa.String(length=128), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person"], ["people.id"], name=op.f("fk_idempotency_keys_person"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("person", "request_key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created", "idempotency_keys", ["created"], unique=False)

    op.create_table(
        "memberships",
        sa.Column("queue", sa.String(length=40), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person"], ["people.id"], name=op.f("fk_memberships_person"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["queue"], ["queues.name"], name=op.f("fk_memberships_queue"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("queue", "person", name=op.f("pk_memberships")),
    )
    op.create_index("ix_memberships_person", "memberships", ["person"], unique=False)

    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person"], ["people.id"], name=op.f("fk_sessions_person"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_expires", "sessions", ["expires"], unique=False)
    op.create_index("ix_sessions_person", "sessions", ["person"], unique=False)

    op.create_table(
        "supervisions",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("queue", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["person"], ["people.id"], name=op.f("fk_supervisions_person"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["queue"], ["queues.name"], name=op.f("fk_supervisions_queue"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("person", "queue", name=op.f("pk_supervisions")),
    )
    op.create_index("ix_supervisions_queue", "supervisions", ["queue"], unique=False)


def downgrade() -> None:
    op.drop_table("supervisions")
    op.drop_table("sessions")
    op.drop_table("memberships")
    op.drop_table("idempotency_keys")
    op.drop_table("devices")
    op.drop_table("call_legs")
    op.drop_table("trunks")
    op.drop_table("queues")
    op.drop_table("people")
    op.drop_table("wrap_ups")
    op.drop_table("numbers")
    op.drop_table("house_settings")
    op.drop_table("call_records")
    op.drop_table("audit")
