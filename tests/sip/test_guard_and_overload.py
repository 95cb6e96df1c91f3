"""Guessing passwords is slow, scanning is silent, and calls in progress come first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from comms.settings import Guard as Limits
from sip.guard import Guard
from sip.overload import WorkLines, has_credentials, is_new_work

LIMITS = Limits(free_attempts=3, delay_seconds=1.0, max_delay_seconds=8.0, silence_after=20)


def test_delays_double_up_to_a_limit_and_end_with_the_right_password() -> None:
    guard = Guard(LIMITS)
    delays = [guard.failed("192.0.2.1", "201", 10.0 + i) for i in range(8)]
    assert delays == [0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 8.0]
    guard.succeeded("192.0.2.1", "201")
    assert guard.failed("192.0.2.1", "201", 20.0) == 0.0


def test_one_account_guessed_from_many_addresses_is_slowed_down_too() -> None:
    guard = Guard(LIMITS)
    delays = [guard.failed(f"192.0.2.{i}", "201", 10.0) for i in range(6)]
    assert delays[-1] == 4.0


def test_a_scanner_gets_no_answer_for_a_while() -> None:
    guard = Guard(LIMITS)
    for i in range(20):
        assert not guard.silent("192.0.2.1", 10.0)
        guard.failed("192.0.2.1", f"{100 + i}", 10.0)
    assert guard.silent("192.0.2.1", 11.0)
    assert not guard.silent("192.0.2.2", 11.0)
    assert not guard.silent("192.0.2.1", 10.0 + LIMITS.silence_seconds)
    assert guard.stats.silenced == 1


def test_old_failures_are_forgotten() -> None:
    guard = Guard(LIMITS)
    for _ in range(3):
        guard.failed("192.0.2.1", "201", 10.0)
    assert guard.failed("192.0.2.1", "201", 11.0 + LIMITS.window_seconds) == 0.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(0, 5)), max_size=60))
def test_a_delay_is_never_longer_than_the_limit(
    attempts: list[tuple[int, int, float]],
) -> None:
    guard, now = Guard(LIMITS), 0.0
    for address, account, pause in attempts:
        now += pause
        assert 0.0 <= guard.failed(str(address), str(account), now) <= LIMITS.max_delay_seconds


INVITE = b"INVITE sip:150@x SIP/2.0\r\nTo: <sip:150@x>\r\nFrom: <sip:a@x>;tag=1\r\n\r\n"
REINVITE = b"INVITE sip:150@x SIP/2.0\r\nTo: <sip:150@x>;tag=2\r\n\r\n"
BYE = b"BYE sip:150@x SIP/2.0\r\nTo: <sip:150@x>;tag=2\r\n\r\n"
SOS = b"INVITE sip:112@x SIP/2.0\r\nTo: <sip:112@x>\r\n\r\n"
SOS_URN = b"INVITE urn:service:sos SIP/2.0\r\nt: <urn:service:sos>\r\n\r\n"
REGISTER = b"REGISTER sip:x SIP/2.0\r\nTo: <sip:1@x>\r\nAuthorization: Digest x\r\n\r\n"


def test_what_may_be_refused_under_load() -> None:
    assert is_new_work(INVITE)
    assert is_new_work(REGISTER)
    assert has_credentials(REGISTER)
    for kept in (REINVITE, BYE, SOS, SOS_URN, b"SIP/2.0 200 OK\r\n\r\n", b"ACK sip:x SIP/2.0\r\n"):
        assert not is_new_work(kept), kept[:30]


def test_calls_in_progress_and_emergencies_pass_everything_that_waits() -> None:
    lines: WorkLines[bytes] = WorkLines(delay=0.1)
    for data in (INVITE, REGISTER, BYE, SOS):
        lines.put(data, data, now=0.0)
    assert [lines.take(0.05) for _ in range(5)] == [
        (BYE, True),
        (SOS, True),
        (REGISTER, True),
        (INVITE, True),
        None,
    ]


def test_new_work_that_waited_too_long_is_refused_but_a_bye_never() -> None:
    lines: WorkLines[bytes] = WorkLines(delay=0.1)
    lines.put(INVITE, INVITE, now=0.0)
    lines.put(BYE, BYE, now=0.0)
    assert lines.take(5.0) == (BYE, True)
    assert lines.take(5.0) == (INVITE, False)
    assert lines.stats.refused == 1


def test_the_line_is_bounded() -> None:
    lines: WorkLines[bytes] = WorkLines(delay=0.1, limit=2)
    for _ in range(5):
        lines.put(INVITE, INVITE, now=0.0)
    assert len(lines) == 2
    assert lines.stats.dropped == 3
