"""The four transaction machines as tables (RFC 3261 §17, RFC 6026).

`table[state][event]` is `"next-state action action …"`. Every state answers every event of its
table; a test holds that. `python -m sip.core.transaction_tables` prints the diagrams.

Events: `provisional`, `success`, `failure` are responses (received by a client, sent by a
server's user); `request` is a retransmission of the request; `ack` an ACK of the same branch.
Timers: `resend` is A, E or G, `limit` is B, F or H, `linger` is D, K, I, J, L or M.
"""

from __future__ import annotations

from typing import Final

Table = dict[str, dict[str, str]]

#: RFC 3261 §17.1.1, figure 5, with the accepted state of RFC 6026 §8.4.
CLIENT_INVITE: Final[Table] = {
    "calling": {
        "provisional": "proceeding stop pass_up send_cancel",
        "success": "accepted stop pass_up linger_m",
        "failure": "completed stop send_ack pass_up linger_d",
        "resend": "calling resend double",
        "limit": "terminated time_out",
        "linger": "calling",
        "transport-error": "terminated fail",
    },
    "proceeding": {
        "provisional": "proceeding pass_up",
        "success": "accepted stop pass_up linger_m",
        "failure": "completed stop send_ack pass_up linger_d",
        "resend": "proceeding",
        # RFC 3261 §9.1: runs only once a CANCEL was sent.
        "limit": "terminated time_out",
        "linger": "proceeding",
        "transport-error": "terminated fail",
    },
    "completed": {
        "provisional": "completed",
        "success": "completed",
        "failure": "completed send_ack",
        "resend": "completed",
        "limit": "completed",
        "linger": "terminated forget",
        # The final response is known already; only its ACK is lost (§17.1.1.2).
        "transport-error": "terminated forget",
    },
    "accepted": {
        "provisional": "accepted",
        "success": "accepted pass_up",
        "failure": "accepted",
        "resend": "accepted",
        "limit": "accepted",
        "linger": "terminated forget ended",
        "transport-error": "accepted",
    },
}

#: RFC 3261 §17.1.2, figure 6.
CLIENT_OTHER: Final[Table] = {
    "trying": {
        "provisional": "proceeding pass_up",
        "success": "completed stop pass_up linger_k",
        "failure": "completed stop pass_up linger_k",
        "resend": "trying resend double_capped",
        "limit": "terminated time_out",
        "linger": "trying",
        "transport-error": "terminated fail",
    },
    "proceeding": {
        "provisional": "proceeding pass_up",
        "success": "completed stop pass_up linger_k",
        "failure": "completed stop pass_up linger_k",
        "resend": "proceeding resend at_t2",
        "limit": "terminated time_out",
        "linger": "proceeding",
        "transport-error": "terminated fail",
    },
    "completed": {
        "provisional": "completed",
        "success": "completed",
        "failure": "completed",
        "resend": "completed",
        "limit": "completed",
        "linger": "terminated forget",
        "transport-error": "terminated forget",
    },
}

#: RFC 3261 §17.2.1, figure 7, with the accepted state of RFC 6026 §8.5.
SERVER_INVITE: Final[Table] = {
    "proceeding": {
        "request": "proceeding repeat",
        "ack": "proceeding",
        "provisional": "proceeding send",
        "success": "accepted send linger_l",
        "failure": "completed send resend_g limit_h",
        "resend": "proceeding",
        "limit": "proceeding",
        "linger": "proceeding",
        "transport-error": "terminated fail",
    },
    "completed": {
        "request": "completed repeat",
        "ack": "confirmed stop linger_i",
        "provisional": "completed",
        "success": "completed",
        "failure": "completed",
        "resend": "completed repeat double_capped",
        "limit": "terminated forget",
        "linger": "completed",
        "transport-error": "terminated forget",
    },
    "confirmed": {
        "request": "confirmed",
        "ack": "confirmed",
        "provisional": "confirmed",
        "success": "confirmed",
        "failure": "confirmed",
        "resend": "confirmed",
        "limit": "confirmed",
        "linger": "terminated forget",
        "transport-error": "terminated forget",
    },
    "accepted": {
        # The user retransmits the 200 itself (RFC 6026 §7.1).
        "request": "accepted",
        "ack": "accepted pass_ack",
        "provisional": "accepted",
        "success": "accepted send",
        "failure": "accepted",
        "resend": "accepted",
        "limit": "accepted",
        "linger": "terminated forget",
        "transport-error": "accepted",
    },
}

#: RFC 3261 §17.2.2, figure 8.
SERVER_OTHER: Final[Table] = {
    "trying": {
        "request": "trying",
        "ack": "trying",
        "provisional": "proceeding send",
        "success": "completed send linger_j",
        "failure": "completed send linger_j",
        "resend": "trying",
        "limit": "trying",
        "linger": "trying",
        "transport-error": "terminated fail",
    },
    "proceeding": {
        "request": "proceeding repeat",
        "ack": "proceeding",
        "provisional": "proceeding send",
        "success": "completed send linger_j",
        "failure": "completed send linger_j",
        "resend": "proceeding",
        "limit": "proceeding",
        "linger": "proceeding",
        "transport-error": "terminated fail",
    },
    "completed": {
        "request": "completed repeat",
        "ack": "completed",
        "provisional": "completed",
        "success": "completed",
        "failure": "completed",
        "resend": "completed",
        "limit": "completed",
        "linger": "terminated forget",
        "transport-error": "terminated forget",
    },
}

TABLES: Final[dict[str, Table]] = {
    "client INVITE": CLIENT_INVITE,
    "client non-INVITE": CLIENT_OTHER,
    "server INVITE": SERVER_INVITE,
    "server non-INVITE": SERVER_OTHER,
}


def diagram(table: Table) -> str:
    """A table as a Mermaid state diagram; events that change and do nothing are left out."""
    lines = ["stateDiagram-v2", f"    [*] --> {next(iter(table))}"]
    for state, row in table.items():
        for event, entry in row.items():
            target, *actions = entry.split()
            if target == state and not actions:
                continue
            label = f"{event} / {', '.join(actions)}" if actions else event
            end = "[*]" if target == "terminated" else target
            lines.append(f"    {state} --> {end}: {label}")
    return "\n".join(lines)


if __name__ == "__main__":
    for title, machine in TABLES.items():
        print(f"### {title}\n\n```mermaid\n{diagram(machine)}\n```\n")
