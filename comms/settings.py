"""The settings of a running system: `comms.toml`, overlaid by `COMMS_SECTION__KEY` variables.

Every setting has a default, a description and limits; `docs/reference/settings.md` is generated
from this module. A wrong or unknown setting raises `SettingsError`, one line that names the
setting, what it was and what is allowed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from comms.errors import OperatorError

PREFIX = "COMMS_"
CONFIG_VARIABLE = "COMMS_CONFIG"
DEFAULT_FILE = Path("comms.toml")

#: the kernel's limit of a unix socket's path is 107 bytes; the longest name in the run folder
#: is well below the 32 reserved here
_LONGEST_RUN_DIR = 107 - 32


class SettingsError(OperatorError):
    """A setting is wrong."""

    exit_code = 2


Port = Annotated[int, Field(ge=0, le=65535)]
HostName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9.:-]{1,253}$", json_schema_extra={"allowed": "an address or host name"}
    ),
]


class Section(BaseModel):
    """One table of `comms.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class General(Section):
    """What everything else needs to know."""

    data_dir: Path = Field(
        Path("data"),
        description="Folder that keeps everything: database, embedded Valkey, prompts, recordings. "
        "A relative path counts from the folder the program is started in.",
        json_schema_extra={"allowed": "a path"},
    )
    domain: HostName = Field(
        "musterstadt.example", description="SIP domain: the part of an address after the @."
    )
    tenant: str = Field(
        "city",
        pattern=r"^[a-z0-9-]{1,40}$",
        description="Name that all keys in Redis carry, so that several cities can share one.",
        json_schema_extra={"allowed": "1 to 40 of a-z, 0-9 and -"},
    )


class Redis(Section):
    """Live state: registrations, dialogs, waiting work, the journal."""

    url: str = Field(
        "",
        pattern=r"^$|^(redis|rediss|unix)://.+$",
        description="Redis or Valkey server. Empty: an embedded Valkey in the data folder.",
        json_schema_extra={"allowed": "empty, or a redis://, rediss:// or unix:// address"},
    )


class Sql(Section):
    """What must last: people, devices, configuration, call records."""

    url: SecretStr = Field(
        SecretStr(""),
        description="SQLAlchemy address of the database. Empty: SQLite in the data folder.",
        json_schema_extra={
            "allowed": "empty, or a sqlite+aiosqlite:///, postgresql:// "
            "or postgresql+asyncpg:// address"
        },
    )
    pool_size: int = Field(
        5, ge=1, le=100, description="Connections that one process keeps to PostgreSQL."
    )

    @model_validator(mode="before")
    @classmethod
    def _check_url(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(url := values.get("url"), str) and url:
            if url.startswith("postgresql://"):
                url = "postgresql+asyncpg://" + url.removeprefix("postgresql://")
            if not url.startswith(("sqlite+aiosqlite:///", "postgresql+asyncpg://")):
                raise _wrong("sql.url", url)
            values = {**values, "url": url}
        return values


class Web(Section):
    """API, live views and the browser applications."""

    host: HostName = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8000, description="TCP port to listen on.")
    public_url: str = Field(
        "",
        pattern=r"^$|^https?://[^\s/]+(/\S*)?$",
        description="Address under which browsers reach it, where a reverse proxy stands before "
        "it. Empty: made from host and port.",
        json_schema_extra={"allowed": "empty, or an http:// or https:// address"},
    )
    trusted_proxies: str = Field(
        "127.0.0.1",
        description="Addresses whose X-Forwarded-For is believed, with commas between them.",
        json_schema_extra={"allowed": "addresses with commas between them"},
    )
    session_hours: float = Field(
        12.0, gt=0, le=720, description="How long a log-in lasts without use."
    )
    idempotency_hours: float = Field(
        24.0, gt=0, le=720, description="How long an idempotency key is remembered."
    )


class Sip(Section):
    """Telephony: where phones register and how calls are limited."""

    host: HostName = Field("127.0.0.1", description="Address that phones and trunks reach.")
    udp_port: Port = Field(5060, description="UDP port.")
    tcp_port: Port = Field(5060, description="TCP port.")
    tls_port: Port = Field(5061, description="TLS port; used when a certificate is set.")
    tls_cert: Path | None = Field(
        None,
        description="Certificate chain in PEM for TLS.",
        json_schema_extra={"allowed": "a path to a PEM file"},
    )
    tls_key: Path | None = Field(
        None,
        description="Private key in PEM for TLS.",
        json_schema_extra={"allowed": "a path to a PEM file"},
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="SIP worker processes. Worker N listens on the ports plus 100 x (N - 1), to be "
        "placed behind a dispatcher.",
    )
    name: str = Field(
        "Comms",
        pattern=r"^[A-Za-z0-9 ._/-]{1,60}$",
        description="Product name in the Server and User-Agent header fields.",
        json_schema_extra={"allowed": "1 to 60 letters, digits, spaces and . _ / -"},
    )
    session_expires: int = Field(
        1800, ge=90, le=86400, description="Session timer in seconds that calls ask for (RFC 4028)."
    )
    min_session_expires: int = Field(
        90, ge=90, le=86400, description="Shortest session timer in seconds that is accepted."
    )
    ring_seconds: float = Field(
        60.0, gt=0, le=600, description="How long a person's devices ring for a direct call."
    )
    register_min_expires: int = Field(
        60, ge=1, le=86400, description="Shortest registration in seconds; below it: 423."
    )
    register_default_expires: int = Field(
        3600, ge=60, le=86400, description="Registration in seconds where the phone names none."
    )
    register_max_expires: int = Field(
        7200, ge=60, le=604800, description="Longest registration in seconds; more is cut to it."
    )
    digest: Literal["SHA-256 MD5", "MD5 SHA-256", "SHA-256", "MD5"] = Field(
        "SHA-256 MD5",
        description="Algorithms for phones' passwords in the order they are offered (RFC 8760). "
        "Some old phones read the first offer only.",
    )
    max_contacts: int = Field(
        10, ge=1, le=100, description="Registered contacts that one device account may have."
    )
    max_message_bytes: int = Field(
        65535, ge=4096, le=1048576, description="Longest SIP message; a longer one is refused."
    )
    max_calls: int = Field(
        2000, ge=1, le=100000, description="Calls at once in one worker; above it new ones get 503."
    )
    overload_delay_ms: int = Field(
        100,
        ge=5,
        le=10000,
        description="When requests wait longer than this for the worker, new work gets 503.",
    )
    retry_after: int = Field(
        5, ge=1, le=600, description="Seconds in the Retry-After of a refusal for overload."
    )
    tcp_max_connections: int = Field(
        5000, ge=1, le=100000, description="TCP and TLS connections of one worker."
    )
    tcp_max_per_address: int = Field(
        500, ge=1, le=100000, description="TCP and TLS connections from one address."
    )
    tcp_first_message_seconds: float = Field(
        10.0,
        gt=0,
        le=300,
        description="A new connection that has sent no whole message by then is closed.",
    )
    tcp_idle_seconds: float = Field(
        900.0, ge=30, le=86400, description="A connection silent for this long is closed."
    )

    @model_validator(mode="after")
    def _pairs(self) -> Sip:
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_cert"
            raise SettingsError(
                f"sip.{missing} is not set; allowed: sip.tls_cert and sip.tls_key together, "
                "or neither"
            )
        if self.register_min_expires > self.register_max_expires:
            raise SettingsError(
                f"sip.register_min_expires is {self.register_min_expires}; allowed: at most "
                f"sip.register_max_expires ({self.register_max_expires})"
            )
        if self.min_session_expires > self.session_expires:
            raise SettingsError(
                f"sip.min_session_expires is {self.min_session_expires}; allowed: at most "
                f"sip.session_expires ({self.session_expires})"
            )
        return self

    def port_shift(self, worker: str) -> int:
        """Return what worker `worker` ("sip-N") adds to each port."""
        number = worker.rpartition("-")[2]
        return 100 * (int(number) - 1) if number.isdecimal() and int(number) > 1 else 0


class Media(Section):
    """The engines that relay calls' audio."""

    engines: int = Field(2, ge=1, le=64, description="Engine processes; calls go to the least.")
    address: HostName = Field(
        "127.0.0.1", description="Address in the SDP, where phones send their audio to."
    )
    port_min: int = Field(20000, ge=1024, le=65534, description="First UDP port for audio.")
    port_max: int = Field(29998, ge=1025, le=65535, description="Last UDP port for audio.")
    timeout_seconds: int = Field(
        60, ge=5, le=3600, description="A session without any packet for this long is dropped."
    )

    @model_validator(mode="after")
    def _ports(self) -> Media:
        if self.port_max - self.port_min < 8 * self.engines:
            raise SettingsError(
                f"media.port_max is {self.port_max}; allowed: at least "
                f"{self.port_min + 8 * self.engines} (media.port_min plus 8 for each engine)"
            )
        return self

    def port_range(self, index: int) -> tuple[int, int]:
        """Return the first and last port of engine `index`, counted from 0; both are even."""
        share = (self.port_max - self.port_min + 1) // self.engines // 2 * 2
        first = self.port_min + self.port_min % 2 + index * share
        return first, min(first + share - 2, self.port_max - 1)


class Records(Section):
    """Call records."""

    retention_days: int = Field(
        90, ge=1, le=3650, description="Call records older than this are deleted."
    )
    sweep_minutes: float = Field(
        60.0, gt=0, le=1440, description="How often the deletion of old records runs."
    )


class Queue(Section):
    """Automatic call distribution."""

    lease_seconds: float = Field(
        1.5,
        ge=0.5,
        le=60,
        description="How long a queue role that fell silent stays the leader.",
    )
    snapshot_every: int = Field(
        2000,
        ge=100,
        le=1000000,
        description="Journal entries between two snapshots of the engine's state.",
    )


class Guard(Section):
    """What slows down people who guess passwords and scanners. Counted for each address."""

    free_attempts: int = Field(
        3, ge=1, le=100, description="Wrong passwords of an account that are answered at once."
    )
    delay_seconds: float = Field(
        1.0, gt=0, le=60, description="First delay after those; it doubles with each further one."
    )
    max_delay_seconds: float = Field(32.0, gt=0, le=3600, description="Longest delay.")
    window_seconds: float = Field(
        600.0, gt=0, le=86400, description="How long a wrong password is remembered."
    )
    silence_after: int = Field(
        20, ge=1, le=10000, description="Failures of an address after which it gets no answer."
    )
    silence_seconds: float = Field(
        600.0, gt=0, le=86400, description="How long such an address gets no answer."
    )


class Logging(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe events that are written."
    )
    format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: console on a terminal, otherwise one JSON object a line."
    )


class Settings(BaseSettings):
    """Everything that can be set. Make one with `load_settings`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__"
    )

    general: General = General()
    redis: Redis = Redis()
    sql: Sql = Sql()
    web: Web = Web()
    sip: Sip = Sip()
    media: Media = Media()
    records: Records = Records()
    queue: Queue = Queue()
    guard: Guard = Guard()
    logging: Logging = Logging()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from `load_settings` alone, which lays the environment over the file."""
        return (init_settings,)

    @property
    def data_dir(self) -> Path:
        """The data folder as an absolute path."""
        return self.general.data_dir.expanduser().absolute()

    @property
    def run_dir(self) -> Path:
        """Folder for unix sockets, 0700. Outside the data folder where its path is too long."""
        inside = self.data_dir / "run"
        if len(os.fsencode(inside)) <= _LONGEST_RUN_DIR:
            return inside
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        return Path(base) / f"comms-{os.getuid()}-{digest}"

    @property
    def prompts_dir(self) -> Path:
        """Folder of the spoken prompts and the music."""
        return self.data_dir / "prompts"

    @property
    def embedded_valkey(self) -> bool:
        """Whether `comms serve` runs a Valkey of its own."""
        return not self.redis.url

    @property
    def redis_url(self) -> str:
        """Address of the Redis or Valkey that all roles use."""
        return self.redis.url or f"unix://{self.run_dir / 'valkey.sock'}"

    @property
    def sql_url(self) -> str:
        """SQLAlchemy address of the database. It may hold a password: never log it."""
        return (
            self.sql.url.get_secret_value() or f"sqlite+aiosqlite:///{self.data_dir / 'comms.db'}"
        )

    @property
    def public_url(self) -> str:
        """Address under which browsers reach the web role, without a trailing slash."""
        if self.web.public_url:
            return self.web.public_url.rstrip("/")
        host = f"[{self.web.host}]" if ":" in self.web.host else self.web.host
        return f"http://{host}:{self.web.port}"

    def media_socket(self, index: int) -> Path:
        """Return the control socket of media engine `index`, counted from 0."""
        return self.run_dir / f"media-{index + 1}.sock"

    def as_environment(self) -> dict[str, str]:
        """Return the variables that make `load_settings` give these settings in a child."""
        variables: dict[str, str] = {}
        for section, key, _ in settings_fields():
            value = getattr(getattr(self, section), key)
            if value is None:
                continue
            if isinstance(value, SecretStr):
                value = value.get_secret_value()
            elif isinstance(value, Path):
                value = value.expanduser().absolute()
            variables[variable_name(section, key)] = str(value)
        return variables


def variable_name(section: str, key: str) -> str:
    """Return the environment variable of a setting, e.g. `COMMS_WEB__PORT`."""
    return f"{PREFIX}{section}__{key}".upper()


def settings_fields() -> Iterator[tuple[str, str, FieldInfo]]:
    """Yield section, key and description of every setting, in the order of the reference."""
    for section, info in Settings.model_fields.items():
        model: type[Section] = info.annotation  # type: ignore[assignment]
        for key, field in model.model_fields.items():
            yield section, key, field


def allowed_values(field: FieldInfo) -> str:
    """Return in words what a setting may be."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and isinstance(extra.get("allowed"), str):
        return str(extra["allowed"])
    if get_origin(field.annotation) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(field.annotation))
    low, high = "", ""
    for limit in field.metadata:
        match limit:
            case annotated_types.Ge(ge=value):
                low = f"from {value}"
            case annotated_types.Gt(gt=value):
                low = f"above {value}"
            case annotated_types.Le(le=value):
                high = f"to {value}" if low.startswith("from") else f"at most {value}"
    kind = "a whole number" if field.annotation is int else "a number"
    joined = f"{low} {high}" if low.startswith("from") else f"{low} and {high}"
    return f"{kind} {joined}"


def load_settings(
    config: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings file and the environment.

    `config` names the file; without it `COMMS_CONFIG` does, and without that `comms.toml` is read
    if there is one. Variables win over the file.

    Raises:
        SettingsError: the file cannot be read, or a setting is wrong or unknown.
    """
    environ = os.environ if environ is None else environ
    named = config or environ.get(CONFIG_VARIABLE) or None
    path = Path(named) if named is not None else DEFAULT_FILE
    values, where = _read_file(path, required=named is not None)
    for variable, text in environ.items():
        section, separator, key = variable.removeprefix(PREFIX).lower().partition("__")
        if not variable.startswith(PREFIX) or not separator:
            continue
        _refuse_unknown(section, key, variable)
        values.setdefault(section, {})[key] = text
        where[section, key] = variable
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error, where)) from None
    except SettingsError as error:
        setting = str(error).partition(" ")[0].partition(".")
        source = where.get((setting[0], setting[2]))
        raise SettingsError(f"{source}: {error}" if source else str(error)) from None


def _read_file(
    path: Path, *, required: bool
) -> tuple[dict[str, dict[str, Any]], dict[tuple[str, str], str]]:
    """Return the file's sections, and for each setting the source that an error names."""
    try:
        with path.open("rb") as file:
            sections = tomllib.load(file)
    except FileNotFoundError:
        if required:
            raise SettingsError(f"settings file {path} does not exist") from None
        return {}, {}
    except OSError as error:
        raise SettingsError(f"settings file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is not valid TOML: {error}") from None
    where: dict[tuple[str, str], str] = {}
    for section, table in sections.items():
        if not isinstance(table, dict):
            _refuse_unknown(section, "", str(path))
            raise SettingsError(f"{path}: {section} is {table!r}; allowed: a table [{section}]")
        for key in table or {"": None}:
            _refuse_unknown(section, key, str(path))
            where[section, key] = str(path)
    return sections, where


def _refuse_unknown(section: str, key: str, source: str) -> None:
    """Raise `SettingsError` unless the setting exists; `key` may be empty for an empty section."""
    if section not in Settings.model_fields:
        known = list(Settings.model_fields)
        raise SettingsError(
            f"{source}: section {section} is unknown{_hint(section, known)}; "
            f"allowed: {', '.join(known)}"
        )
    keys = [known for name, known, _ in settings_fields() if name == section]
    if key and key not in keys:
        raise SettingsError(
            f"{source}: {section}.{key} is unknown{_hint(key, keys)}; "
            f"allowed in {section}: {', '.join(keys)}"
        )


def _hint(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {close[0]}?" if close else ""


def _wrong(setting: str, value: object) -> SettingsError:
    section, _, key = setting.partition(".")
    field = next(f for s, k, f in settings_fields() if (s, k) == (section, key))
    shown = "***" if field.annotation is SecretStr else _show(value)
    return SettingsError(f"{setting} is {shown}; allowed: {allowed_values(field)}")


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _explain(error: ValidationError, where: Mapping[tuple[str, str], str]) -> str:
    """Return the one line about the first thing that is wrong."""
    first = error.errors(include_url=False)[0]
    section, key = (str(part) for part in (*first["loc"], "", "")[:2])
    text = str(_wrong(f"{section}.{key}", first["input"]))
    source = where.get((section, key))
    return f"{source}: {text}" if source else text


def reference() -> str:
    """Return `docs/reference/settings.md`."""
    lines = [
        "# Settings",
        "",
        "Made from `comms/settings.py` by `python -m comms.settings`. Settings stand in",
        "`comms.toml` (or the file that `--config` or `COMMS_CONFIG` names); an environment",
        "variable `COMMS_SECTION__KEY` wins over the file.",
        "",
    ]
    for section, info in Settings.model_fields.items():
        lines += [f"## [{section}]", "", (getattr(info.annotation, "__doc__", "") or "").strip()]
        lines += ["", "| setting | default | allowed | |", "|---|---|---|---|"]
        for name, key, field in settings_fields():
            if name == section:
                default = field.get_default()
                if isinstance(default, SecretStr):
                    default = default.get_secret_value()
                shown = f"`{default}`" if default not in ("", None) else "empty"
                lines.append(
                    f"| `{key}` | {shown} | {allowed_values(field)} | {field.description} |"
                )
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference(), end="")
