"""Who sent a request: challenges, proofs, replays, and nothing to learn for those who guess."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.calls import musterstadt

from comms.directory import Device
from comms.settings import Guard as Limits
from sip.authentication import Authenticator, Known, Unknown
from sip.core.digest import authorize, ha1
from sip.core.flow import Flow
from sip.core.message import Request
from sip.guard import Guard

DOMAIN = "musterstadt.example"
FLOW = Flow("udp", ("127.0.0.1", 5060), ("192.0.2.1", 5060))


class Registrar:
    """An authenticator for 201 with the password `secret`, and a phone to ask it."""

    def __init__(self, *algorithms: str) -> None:
        secret = Device(
            "201",
            "anna.schmidt",
            ha1("201", DOMAIN, "secret"),
            ha1("201", DOMAIN, "secret", "SHA-256"),
        )
        directory = replace(musterstadt(), devices={"201": secret})
        guard = Guard(Limits(free_attempts=2))
        key = b"k" * 32
        self.server = (
            Authenticator(directory, guard, key, algorithms)
            if algorithms
            else Authenticator(directory, guard, key)
        )

    def ask(self, *headers: tuple[str, str], now: float = 0.0) -> Known | Unknown:
        request = Request("REGISTER", f"sip:{DOMAIN}", [("CSeq", "1 REGISTER"), *headers])
        return self.server.authenticate(request, FLOW, now)

    def answer(
        self, user: str, password: str, *, now: float = 0.0, count: int = 1, only: str = ""
    ) -> tuple[str, str]:
        """Return the header that answers a fresh challenge."""
        challenge = self.ask(now=now)
        assert isinstance(challenge, Unknown)
        offered = [value for _, value in challenge.headers if only in value]
        value = authorize(offered, "REGISTER", f"sip:{DOMAIN}", user, password, count, "c")
        assert value is not None
        return ("Authorization", value)


def test_without_credentials_both_algorithms_are_offered_the_better_one_first() -> None:
    challenge = Registrar().ask()
    assert isinstance(challenge, Unknown)
    assert challenge.status == 401
    assert ["SHA-256" in v for _, v in challenge.headers] == [True, False]


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_the_right_password_is_known(algorithm: str) -> None:
    registrar = Registrar()
    sender = registrar.ask(registrar.answer("201", "secret", only=algorithm))
    assert isinstance(sender, Known)
    assert sender.device.user == "201"


def test_an_algorithm_that_is_not_offered_proves_nothing() -> None:
    both, strict = Registrar(), Registrar("SHA-256")
    header = both.answer("201", "secret", only="MD5")
    assert isinstance(strict.ask(header), Unknown)
    assert isinstance(both.ask(header), Known)


def test_unknown_accounts_look_like_wrong_passwords() -> None:
    answers = []
    for user in ("201", "999"):
        registrar = Registrar()
        for _ in range(4):
            last = registrar.ask(registrar.answer(user, "wrong"))
        assert isinstance(last, Unknown)
        answers.append((last.status, last.delay, [name for name, _ in last.headers]))
    assert answers[0] == answers[1]
    assert answers[0][1] > 0, "guessing is slowed down"


def test_a_proof_counts_once() -> None:
    registrar = Registrar()
    header = registrar.answer("201", "secret")
    assert isinstance(registrar.ask(header), Known)
    replay = registrar.ask(header)
    assert isinstance(replay, Unknown)
    assert "stale=true" in replay.headers[0][1]


def test_an_old_nonce_is_stale_and_no_failure() -> None:
    registrar = Registrar()
    header = registrar.answer("201", "secret", now=0.0)
    late = registrar.ask(header, now=10_000.0)
    assert isinstance(late, Unknown)
    assert "stale=true" in late.headers[0][1]
    assert late.delay == 0.0


def test_a_nonce_of_another_installation_is_refused() -> None:
    other = Registrar()
    other.server = Authenticator(
        other.server.directory, Guard(Limits()), b"another key, of 32 bytes length!"
    )
    assert isinstance(Registrar().ask(other.answer("201", "secret")), Unknown)


def test_credentials_for_another_realm_are_passed_over() -> None:
    registrar = Registrar()
    foreign = (
        "Authorization",
        'Digest username="201", realm="else.example", nonce="x", uri="sip:x", response="0"',
    )
    assert isinstance(registrar.ask(foreign, registrar.answer("201", "secret")), Known)
