"""A whole running system with Musterstadt in it, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

from sqlalchemy.ext.asyncio import AsyncEngine

from comms.seed import DOMAIN, seed_musterstadt
from comms.store.engine import open_engine
from comms.store.migrate import migrate
from comms.supervisor import read_status

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 90.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _free_ports(count: int) -> list[int]:
    """Return ports that are free for UDP and TCP, none twice."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            tcp.bind(("127.0.0.1", 0))
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                ports.append(tcp.getsockname()[1])
        return ports


class RunningSystem:
    """`comms serve` with Musterstadt in it, in a folder and on ports of its own."""

    host = "127.0.0.1"

    def __init__(self, prompts: Path, **settings: str) -> None:
        """`prompts` is a folder of prompts to link into the system's own.

        `settings` are further variables, without the prefix, such as SIP__MAX_CALLS.
        """
        self._prompts = prompts
        self.folder = Path(tempfile.mkdtemp(prefix="comms-e2e-"))
        self.sip_port, self.tls_port, self.web_port, self.trunk_port = _free_ports(4)
        self.web_url = f"http://{self.host}:{self.web_port}"
        # half of the ephemeral range's lower neighbour, spread over the test processes
        first = 20000 + os.getpid() % 10 * 1200
        self._variables = {
            "GENERAL__DATA_DIR": str(self.folder),
            "SIP__HOST": self.host,
            "SIP__UDP_PORT": str(self.sip_port),
            "SIP__TCP_PORT": str(self.sip_port),
            "SIP__TLS_PORT": str(self.tls_port),
            "WEB__PORT": str(self.web_port),
            "MEDIA__PORT_MIN": str(first),
            "MEDIA__PORT_MAX": str(first + 1198),
            "LOGGING__FORMAT": "json",
            # tests fail to log in on purpose
            "GUARD__SILENCE_AFTER": "10000",
            **settings,
        }
        self.run_dir = self.folder / "run"
        self.redis_url = f"unix://{self.run_dir / 'valkey.sock'}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What the system logged so far."""
        path = self.folder / "system.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def pid(self, name: str) -> int:
        """Return the process id of a child, such as sip-1."""
        return read_status(self.run_dir)[name]["pid"]

    def children(self) -> dict[str, int]:
        """Return each child's process id."""
        return {name: state["pid"] for name, state in read_status(self.run_dir).items()}

    def start(self) -> None:
        """Seed and start; returns when everything serves."""
        # another test process may be looking whether they are complete
        unfinished = shutil.ignore_patterns(".making-*")
        shutil.copytree(
            self._prompts, self.folder / "prompts", ignore=unfinished, copy_function=os.link
        )
        self._certify()
        asyncio.run(self._seed())
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COMMS_")}
        environment |= {f"COMMS_{key}": value for key, value in self._variables.items()}
        paths = (str(_ROOT), str(_ROOT / "queue"), os.environ.get("PYTHONPATH", ""))
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        with (self.folder / "system.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from comms.cli import app; app()", "serve"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._serves():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                raise RuntimeError(f"the system did not start:\n{self.log[-5000:]}")
            time.sleep(0.05)

    def _certify(self) -> None:
        """Make a certificate for TLS."""
        certificate, key = self.folder / "tls.pem", self.folder / "tls.key"
        make_certificate(certificate, key, self.host)
        self._variables |= {"SIP__TLS_CERT": str(certificate), "SIP__TLS_KEY": str(key)}

    async def _seed(self) -> None:
        url = f"sqlite+aiosqlite:///{self.folder / 'comms.db'}"
        await migrate(url)
        engine = open_engine(url)
        await seed_musterstadt(engine, DOMAIN, self.trunk_port)
        await self.furnish(engine)
        await engine.dispose()

    async def furnish(self, engine: AsyncEngine) -> None:
        """Change what is in the database before the start; for subclasses."""

    def _serves(self) -> bool:
        try:
            with (
                socket.create_connection((self.host, self.sip_port), timeout=2),
                urlopen(f"{self.web_url}/api/v1/ready", timeout=2) as answer,
            ):
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """End the system and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def make_certificate(certificate: Path, key: Path, host: str) -> None:
    """Write a self-signed certificate for an IPv4 address and its key, both PEM."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import IPv4Address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    # RSA: the phone library's old OpenSSL takes no newer keys
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, DOMAIN)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(DOMAIN), x509.IPAddress(IPv4Address(host))]),
            critical=False,
        )
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.touch(mode=0o600)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


def run(running: RunningSystem) -> Iterator[RunningSystem]:
    """Start a system, yield it, and end it."""
    try:
        running.start()
        yield running
    finally:
        running.stop()
