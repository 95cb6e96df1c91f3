"""Settings: every one wrong once, where they come from, and the reference made of them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from comms.settings import (
    Settings,
    SettingsError,
    load_settings,
    reference,
    settings_fields,
    variable_name,
)

#: a wrong value for every setting that can be wrong
WRONG = {
    "general.domain": "two words",
    "general.tenant": "Ä",
    "redis.url": "http://localhost",
    "sql.url": "mysql://localhost/comms",
    "sql.pool_size": "0",
    "web.host": "not a host",
    "web.port": "eighty",
    "web.public_url": "ftp://example.org",
    "web.session_hours": "0",
    "web.idempotency_hours": "-1",
    "sip.host": "",
    "sip.udp_port": "70000",
    "sip.tcp_port": "-1",
    "sip.tls_port": "5061.5",
    "sip.workers": "0",
    "sip.name": "Comms\r\nEvil: 1",
    "sip.session_expires": "60",
    "sip.min_session_expires": "1",
    "sip.ring_seconds": "3600",
    "sip.register_min_expires": "0",
    "sip.register_default_expires": "5",
    "sip.register_max_expires": "1",
    "sip.digest": "SHA-512",
    "sip.max_contacts": "0",
    "sip.max_message_bytes": "100",
    "sip.max_calls": "0",
    "sip.overload_delay_ms": "1",
    "sip.retry_after": "0",
    "sip.tcp_max_connections": "0",
    "sip.tcp_max_per_address": "0",
    "sip.tcp_first_message_seconds": "0",
    "sip.tcp_idle_seconds": "1",
    "media.engines": "0",
    "media.address": "a/b",
    "media.port_min": "80",
    "media.port_max": "65536",
    "media.timeout_seconds": "1",
    "records.retention_days": "0",
    "records.sweep_minutes": "0",
    "queue.lease_seconds": "0.1",
    "queue.snapshot_every": "1",
    "guard.free_attempts": "0",
    "guard.delay_seconds": "0",
    "guard.max_delay_seconds": "0",
    "guard.window_seconds": "0",
    "guard.silence_after": "0",
    "guard.silence_seconds": "0",
    "logging.level": "loud",
    "logging.format": "xml",
}
#: what these settings name is looked at when it is used: any text is a path or an address list
FREE_TEXT = {"general.data_dir", "web.trusted_proxies", "sip.tls_cert", "sip.tls_key"}


def load(**variables: str) -> Settings:
    return load_settings(environ={"COMMS_" + key: value for key, value in variables.items()})


def load_one(setting: str, value: str) -> Settings:
    return load_settings(environ={variable_name(*setting.split(".")): value})


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_setting_has_a_wrong_value_here() -> None:
    names = {f"{section}.{key}" for section, key, _ in settings_fields()}
    assert WRONG.keys() | FREE_TEXT == names


@pytest.mark.parametrize(("setting", "value"), WRONG.items())
def test_a_wrong_setting_is_one_line_with_its_name_its_value_and_what_is_allowed(
    setting: str, value: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_one(setting, value)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{variable_name(*setting.split('.'))}: {setting} is ")
    assert "; allowed: " in text
    assert "allowed: a number  " not in text
    if setting == "sql.url":
        assert value not in text, "an address may hold a password"
    elif value.isprintable():
        assert value in text


@pytest.mark.parametrize(
    ("variables", "setting"),
    [
        ({"SIP__TLS_CERT": "/cert.pem"}, "sip.tls_key"),
        ({"SIP__TLS_KEY": "/key.pem"}, "sip.tls_cert"),
        ({"SIP__REGISTER_MIN_EXPIRES": "9000"}, "sip.register_min_expires"),
        ({"SIP__MIN_SESSION_EXPIRES": "3600"}, "sip.min_session_expires"),
        ({"MEDIA__PORT_MIN": "29990"}, "media.port_max"),
    ],
)
def test_settings_that_contradict_each_other_are_named(
    variables: dict[str, str], setting: str
) -> None:
    with pytest.raises(SettingsError, match=rf"\b{setting} is .*; allowed: "):
        load(**variables)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[sip]\nupd_port = 1\n", "sip.upd_port is unknown, did you mean udp_port?"),
        ("[spi]\nudp_port = 1\n", "section spi is unknown, did you mean sip?"),
        ("[other]\n", "section other is unknown; allowed: general, "),
        ("sip = 3\n", "sip is 3; allowed: a table [sip]"),
        ("[sip]\nudp_port = 1\nudp_port = 2\n", "is not valid TOML"),
        ("[sip]\nudp_port = 'x'\n", 'sip.udp_port is "x"; allowed: a whole number from 0 to'),
        ("[sip]\nudp_port = [1]\n", "sip.udp_port is [1]; allowed"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_file(
    tmp_path: Path, text: str, expected: str
) -> None:
    file = tmp_path / "city.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file, {})
    assert expected in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_variable_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"COMMS_WEB__PROT: web\.prot .* did you mean port\?"):
        load(WEB__PROT="1")


def test_a_named_file_must_exist_and_the_default_one_need_not(tmp_path: Path) -> None:
    load_settings(environ={})
    for call in (
        lambda: load_settings(tmp_path / "none.toml", {}),
        lambda: load_settings(environ={"COMMS_CONFIG": str(tmp_path / "none.toml")}),
    ):
        with pytest.raises(SettingsError, match=r"none\.toml does not exist"):
            call()
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path, {})


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "comms.toml").write_text("[web]\nport = 81\nhost = '::1'\n")
    settings = load_settings(environ={"COMMS_WEB__PORT": "82", "COMMS_OTHER": "x", "HOME": "/"})
    assert (settings.web.port, settings.web.host) == (82, "::1")
    assert settings.public_url == "http://[::1]:82"


def test_a_child_gets_the_same_settings_by_its_environment() -> None:
    settings = load(
        SQL__URL="postgresql://u:p@db/comms",
        SIP__TLS_CERT="cert.pem",
        SIP__TLS_KEY="key.pem",
        GENERAL__DATA_DIR="here",
        QUEUE__LEASE_SECONDS="3.5",
    )
    child = load_settings(environ=settings.as_environment())
    assert child.as_environment() == settings.as_environment()
    assert child.sql_url == settings.sql_url == "postgresql+asyncpg://u:p@db/comms"
    assert child.data_dir == settings.data_dir == Path.cwd() / "here"


def test_secrets_are_not_shown() -> None:
    assert "hunter2" not in repr(load(SQL__URL="postgresql://u:hunter2@db/comms"))


def test_sockets_leave_a_data_folder_whose_path_is_too_long_for_them() -> None:
    assert load(GENERAL__DATA_DIR="/srv/comms").run_dir == Path("/srv/comms/run")
    long = load(GENERAL__DATA_DIR="/srv/" + "x" * 100)
    assert len(str(long.run_dir)) < 70
    assert long.run_dir != load(GENERAL__DATA_DIR="/srv/" + "y" * 100).run_dir


def test_engines_share_the_media_ports_without_overlap() -> None:
    media = load(MEDIA__PORT_MIN="20001", MEDIA__PORT_MAX="20100", MEDIA__ENGINES="3").media
    ranges = [media.port_range(index) for index in range(3)]
    assert all(first % 2 == last % 2 == 0 for first, last in ranges)
    assert ranges == sorted(ranges)
    for (_, last), (first, _) in itertools.pairwise(ranges):
        assert last < first
    assert ranges[0][0] >= 20001
    assert ranges[-1][1] <= 20099


def test_workers_have_ports_of_their_own() -> None:
    sip = load().sip
    assert [sip.port_shift(name) for name in ("sip-1", "sip-2", "sip-4", "sip")] == [0, 100, 300, 0]


def test_the_reference_is_current() -> None:
    page = Path(__file__).parents[2] / "docs/reference/settings.md"
    assert page.read_text() == reference(), "run: python -m comms.settings > " + str(page)
