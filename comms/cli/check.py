"""`comms check`: is this installation sound?

Each check gives findings: what was looked at, how it is, and what to do about it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from comms.cli.context import AsJson, print_json, settings_of
from comms.database import StoreError, first_line, prepare_database

if TYPE_CHECKING:
    from comms.settings import Settings

Verdict = Literal["ok", "warn", "fail"]

_GIB = 1 << 30
#: a city's day of call records and recordings fits in this many bytes
_LITTLE_SPACE = 2 * _GIB
_NO_SPACE = _GIB // 4
_WARN_DAYS = 30
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    detail: str


Check = Callable[["Settings"], Awaitable[list[Finding]]]


def check(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Check ports, certificates, data folder, stores, media engines and prompts.

    The exit code is 1 if anything fails.
    """
    settings = settings_of(ctx)
    findings = asyncio.run(_all(settings))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print(findings)
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(1)


async def _all(settings: Settings) -> list[Finding]:
    checks: tuple[Check, ...] = (
        data_folder,
        ports,
        certificate,
        live_store,
        database,
        engines,
        prompts,
        interface,
    )
    return [finding for each in checks for finding in await each(settings)]


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    table = Table()
    for column in ("what", "", "detail"):
        table.add_column(column)
    for finding in findings:
        colour = colours[finding.verdict]
        table.add_row(
            finding.what, f"[{colour}]{finding.verdict}[/{colour}]", escape(finding.detail)
        )
    Console().print(table)


async def data_folder(settings: Settings) -> list[Finding]:
    """Can the folder be written, and is there space?"""
    from comms.folders import FolderError, prepare_folders

    try:
        prepare_folders(settings)
    except FolderError as error:
        return [Finding("data folder", "fail", str(error))]
    free = shutil.disk_usage(settings.data_dir).free
    verdict: Verdict = "fail" if free < _NO_SPACE else "warn" if free < _LITTLE_SPACE else "ok"
    detail = f"{settings.data_dir}, {free / _GIB:.1f} GiB free"
    return [Finding("data folder", verdict, detail)]


async def ports(settings: Settings) -> list[Finding]:
    """Can the ports be had, or does this very system have them?"""
    from comms.ports import listeners, media_ports_in_use

    runs = _runs(settings)
    findings = []
    for listener in listeners(settings):
        what = f"{listener.role} {listener.kind} {listener.port}"
        problem = listener.problem()
        if problem is None:
            findings.append(Finding(what, "ok", f"free on {listener.host}"))
        elif runs:
            findings.append(Finding(what, "ok", "in use; this system runs"))
        else:
            findings.append(Finding(what, "fail", problem))
    taken = media_ports_in_use(settings)
    media = settings.media
    what = f"media UDP {media.port_min} to {media.port_max}"
    if taken and not runs:
        detail = f"{taken} ports are in use by other programs and are left out"
        findings.append(Finding(what, "warn", detail))
    else:
        findings.append(Finding(what, "ok", f"on {media.address}"))
    return findings


async def certificate(settings: Settings) -> list[Finding]:
    """Is there a certificate for TLS that fits its key and still holds?"""
    from cryptography import x509

    cert, key = settings.sip.tls_cert, settings.sip.tls_key
    if cert is None or key is None:
        detail = "none set: phones cannot use TLS (sip.tls_cert, sip.tls_key)"
        return [Finding("certificate", "warn", detail)]
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
        first = x509.load_pem_x509_certificates(cert.read_bytes())[0]
    except (OSError, ValueError) as error:
        return [Finding("certificate", "fail", f"{cert} and {key}: {first_line(error)}")]
    days = (first.not_valid_after_utc - datetime.now(UTC)).days
    verdict: Verdict = "fail" if days < 0 else "warn" if days < _WARN_DAYS else "ok"
    return [Finding("certificate", verdict, f"{cert}, valid for {days} more days")]


async def live_store(settings: Settings) -> list[Finding]:
    """Does Redis or Valkey answer?"""
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    what = "live store"
    if settings.embedded_valkey and not _runs(settings):
        return [_embedded_valkey(settings, what)]
    client: Redis = Redis.from_url(settings.redis_url, socket_connect_timeout=_SECONDS)
    try:
        started = time.perf_counter()
        info = await client.info("server")
        took = (time.perf_counter() - started) * 1000
        policy = (await client.config_get("maxmemory-policy")).get("maxmemory-policy")
    except (RedisError, OSError) as error:
        return [Finding(what, "fail", f"{first_line(error)} (redis.url)")]
    finally:
        await client.aclose()
    version = info.get("valkey_version") or info.get("redis_version")
    if policy not in ("noeviction", None):
        detail = f"maxmemory-policy is {policy}: live state may vanish; set it to noeviction"
        return [Finding(what, "warn", detail)]
    return [Finding(what, "ok", f"version {version}, answers in {took:.1f} ms")]


def _embedded_valkey(settings: Settings, what: str) -> Finding:
    from comms import valkey

    program = valkey.command(settings)[0]
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(what, "fail", f"the embedded Valkey does not start: {first_line(error)}")
    return Finding(what, "ok", "embedded, not running: " + " ".join(done.stdout.split()[:3]))


async def database(settings: Settings) -> list[Finding]:
    """Can the database be opened, and is its schema one this version knows?"""
    kind = settings.sql_url.partition("+")[0]
    try:
        async with asyncio.timeout(_SECONDS):
            await prepare_database(settings)
    except StoreError as error:
        return [Finding("database", "fail", f"{kind}: {error}")]
    except TimeoutError:
        return [Finding("database", "fail", f"{kind}: no answer within {_SECONDS:g} s (sql.url)")]
    return [Finding("database", "ok", f"{kind}, schema up to date")]


async def engines(settings: Settings) -> list[Finding]:
    """Do the media engines answer, or does one start for a trial?"""
    from comms.compose import media_answers

    if _runs(settings):
        return [
            Finding(
                f"media engine {index + 1}",
                "ok" if await media_answers(settings.media_socket(index)) else "fail",
                f"control socket {settings.media_socket(index)}",
            )
            for index in range(settings.media.engines)
        ]
    return [await _trial_engine(settings)]


async def _trial_engine(settings: Settings) -> Finding:
    from comms.compose import media_answers, media_command

    what = "media engine"
    with tempfile.TemporaryDirectory(prefix="comms-check-") as folder:
        socket = Path(folder) / "media.sock"
        started = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *media_command(settings, 0, socket),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_SECONDS):
                # the engine is another program: there is no event to wait for
                while not await media_answers(socket):
                    if process.returncode is not None:
                        output = (await process.communicate())[0].decode(errors="replace")
                        last = output.strip().splitlines()[-1:] or ["it printed nothing"]
                        return Finding(what, "fail", f"does not start: {last[0]}")
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return Finding(what, "fail", f"does not answer within {_SECONDS:g} s")
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
        took = (time.perf_counter() - started) * 1000
    return Finding(what, "ok", f"rtp-io starts in {took:.0f} ms")


async def prompts(settings: Settings) -> list[Finding]:
    """Has every announcement been made?"""
    from comms.compose import missing_prompts

    missing = missing_prompts(settings)
    if missing:
        detail = f"{len(missing)} are missing, the first is {missing[0]}: run comms prompts"
        return [Finding("prompts", "warn", detail)]
    return [Finding("prompts", "ok", f"all in {settings.prompts_dir}")]


async def interface(settings: Settings) -> list[Finding]:
    """Were the browser applications built?"""
    import comms

    page = Path(comms.__file__).parent / "static" / "index.html"
    if page.exists():
        return [Finding("browser applications", "ok", settings.public_url)]
    return [Finding("browser applications", "fail", "not built: run make setup")]


def _runs(settings: Settings) -> bool:
    """Return whether this system runs: its supervisor's children live."""
    from comms.supervisor import read_status

    return any(_alive(child["pid"]) for child in read_status(settings.run_dir).values())


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
