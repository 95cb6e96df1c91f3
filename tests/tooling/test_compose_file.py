"""`docker-compose.yml` and `Dockerfile` fit the program: roles, settings, folders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from comms.compose import ROLES
from comms.settings import load_settings

ROOT = Path(__file__).parents[2]
GIVEN = {"COMMS_ADDRESS": "127.0.0.1", "COMMS_DB_PASSWORD": "secret"}


def interpolate(text: str) -> str:
    """Replace `${NAME}`, `${NAME:-default}` and `${NAME:?message}` as Compose does."""

    def value(match: re.Match[str]) -> str:
        name, operator, rest = match.group(1), match.group(2), match.group(3)
        if name in GIVEN:
            return GIVEN[name]
        assert operator == ":-", f"{name} has neither value nor default"
        return rest or ""

    return re.sub(r"\$\{([A-Z_]+)(?:(:-|:\?)([^}]*))?\}", value, text)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(interpolate((ROOT / "docker-compose.yml").read_text())))


@pytest.fixture(scope="module")
def roles(compose: dict[str, Any]) -> dict[str, Any]:
    """The services that run our image."""
    return {name: service for name, service in compose["services"].items() if "build" in service}


def test_there_is_a_service_for_every_role_and_store(
    compose: dict[str, Any], roles: dict[str, Any]
) -> None:
    assert {service["command"][1] for service in roles.values()} == set(ROLES)
    assert compose["services"].keys() - roles.keys() == {"valkey", "postgres"}


def test_every_service_starts_its_role_with_valid_settings(
    roles: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, service in roles.items():
        verb, role, option, instance = service["command"]
        assert (verb, option) == ("role", "--name")
        assert instance.startswith(f"{role}-")
        settings = load_settings(environ=service["environment"])
        assert not settings.embedded_valkey, name
        assert settings.sql_url.startswith("postgresql+asyncpg://comms:secret@"), name
        assert settings.general.domain == "musterstadt.example"


def test_every_media_engine_of_the_settings_has_a_service(roles: dict[str, Any]) -> None:
    settings = load_settings(environ=roles["sip"]["environment"])
    engines = {s["command"][3] for s in roles.values() if s["command"][1] == "media"}
    assert engines == {f"media-{n + 1}" for n in range(settings.media.engines)}


def test_roles_share_the_folder_of_the_control_sockets_and_wait_for_the_stores(
    compose: dict[str, Any], roles: dict[str, Any]
) -> None:
    for service in roles.values():
        assert service["volumes"] == ["comms:/var/lib/comms"]
        assert {store: wanted["condition"] for store, wanted in service["depends_on"].items()} == {
            "valkey": "service_healthy",
            "postgres": "service_healthy",
        }
    assert "COMMS_GENERAL__DATA_DIR=/var/lib/comms" in (ROOT / "Dockerfile").read_text()
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in compose["volumes"]


def test_the_stores_keep_what_they_are_given_and_are_closed_to_the_network(
    compose: dict[str, Any],
) -> None:
    for store in ("valkey", "postgres"):
        service = compose["services"][store]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert service["healthcheck"]["test"]
    command = compose["services"]["valkey"]["command"]
    assert dict(zip(command[1::2], command[2::2], strict=True)) == {
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--maxmemory-policy": "noeviction",
    }


def test_the_image_is_built_from_the_lock_files_and_runs_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes" in text
    for name in re.findall(r"requirements/\S+\.txt", text):
        assert (ROOT / name).exists()
    assert re.search(r"^USER comms$", text, re.M)
    assert re.search(r'^ENTRYPOINT \["comms"\]$', text, re.M)
