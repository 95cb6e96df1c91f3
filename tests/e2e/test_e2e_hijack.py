"""Strangers: whatever they send into others' dialogs and audio changes nothing."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from pathlib import Path

import pytest
from support.city import CITIZEN, City, SipLog
from support.phones import PhoneCall, both_hear, deaf, talk
from support.sipp import sipp

from sip.simphone.audio import tone_frames

pytestmark = pytest.mark.e2e
A, B, EVIL = 700.0, 1100.0, 1900.0


def request(
    method: str,
    dialog: dict[str, str],
    port: int,
    *,
    cseq: int,
    host: str = "127.0.0.1",
    **change: str,
) -> bytes:
    """Write a request of the dialog as the caller would send it, with some fields changed."""
    fields = dialog | change
    body = ""
    extra = ""
    if method == "INVITE":
        body = (
            f"v=0\r\no=evil 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
        )
        extra = "Content-Type: application/sdp\r\n"
    if method == "REFER":
        extra = "Refer-To: <sip:003023125009@musterstadt.example>\r\n"
    target = fields["contact"].strip("<>").split(">")[0].lstrip("<")
    return (
        f"{method} {target} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host}:{port};rport;branch=z9hG4bK{secrets.token_hex(8)}\r\n"
        "Max-Forwards: 70\r\n"
        f"From: {fields['from']}\r\nTo: {fields['to']}\r\nCall-ID: {fields['call_id']}\r\n"
        f"CSeq: {cseq} {method}\r\nContact: <sip:evil@{host}:{port}>\r\n{extra}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def stranger(host: str = "127.0.0.1") -> socket.socket:
    attacker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    attacker.bind((host, 0))
    attacker.setblocking(False)
    return attacker


async def answer_to(attacker: socket.socket, within: float = 1.0) -> str:
    """Return the first line of what comes back, "" for nothing."""
    try:
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(attacker, 65536), within)
    except TimeoutError:
        return ""
    return data.split(b"\r\n", 1)[0].decode()


def other_tag(header: str) -> str:
    return header.split(";tag=")[0] + ";tag=" + secrets.token_hex(6)


async def spray(host: str, port: int, seconds: float, source: str = "127.0.0.1") -> None:
    """Send a tone as RTP to a media port, as fast as a phone does."""
    frames = tone_frames(EVIL)
    with stranger(source) as attacker:
        sequence, stamp, ssrc = 1, 160, secrets.token_bytes(4)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            header = bytes((0x80, 8)) + sequence.to_bytes(2) + stamp.to_bytes(4) + ssrc
            attacker.sendto(header + frames[sequence % len(frames)], (host, port))
            sequence, stamp = sequence + 1 & 0xFFFF, stamp + 160
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("method", ["BYE", "CANCEL", "INVITE", "REFER", "UPDATE", "INFO"])
async def test_request_with_wrong_tags_changes_nothing(
    city: City, tmp_path: Path, method: str
) -> None:
    log = tmp_path / "phone.log"
    one = await city.phone("242", tone=A, log=str(log))
    two = await city.phone("243", tone=B)
    call, answered = await talk(one, "243", two)
    await both_hear(call, A, answered, B)
    dialog = SipLog(log).dialog()
    server = (city.system.host, city.system.sip_port)
    with stranger() as attacker:
        port = attacker.getsockname()[1]
        for change in (
            {"to": other_tag(dialog["to"])},
            {"from": other_tag(dialog["from"])},
            {"to": other_tag(dialog["to"]), "from": other_tag(dialog["from"])},
        ):
            attacker.sendto(request(method, dialog, port, cseq=4711, **change), server)
            answer = await answer_to(attacker)
            assert not answer.startswith("SIP/2.0 2"), f"{method} was accepted: {answer}"
    await _goes_on(call, answered)


@pytest.mark.parametrize("method", ["BYE", "INVITE", "REFER", "UPDATE"])
async def test_stranger_who_knows_the_tags_changes_nothing(
    city: City, tmp_path: Path, method: str
) -> None:
    log = tmp_path / "phone.log"
    one = await city.phone("242", tone=A, log=str(log))
    two = await city.phone("243", tone=B)
    call, answered = await talk(one, "243", two)
    await both_hear(call, A, answered, B)
    dialog = SipLog(log).dialog()
    server = (city.system.host, city.system.sip_port)
    with stranger("127.0.0.9") as attacker:
        port = attacker.getsockname()[1]
        message = request(method, dialog, port, cseq=4711, host="127.0.0.9")
        attacker.sendto(message, server)
        answer = await answer_to(attacker)
        assert not answer.startswith("SIP/2.0 2"), f"{method} was accepted: {answer}"
    await _goes_on(call, answered)


async def test_strangers_cancel_does_not_end_the_ringing(city: City, tmp_path: Path) -> None:
    log = tmp_path / "phone.log"
    one = await city.phone("242", tone=A, log=str(log))
    two = await city.phone("243", tone=B)
    call = await one.call("243")
    rung = await two.incoming()
    await rung.answer(180)
    await call.until("EARLY")
    invite = SipLog(log).messages(r"INVITE sip:")[-1]
    server = (city.system.host, city.system.sip_port)
    lines = {line.split(":", 1)[0]: line for line in invite.splitlines() if ":" in line}
    target = invite.split()[1]
    cseq = lines["CSeq"].split()[1]
    # another branch, from the phone's host; then the right branch from a strange host
    branch = lines["Via"].split("branch=")[1].split(";")[0]
    for host, used in (("127.0.0.1", "z9hG4bKwrong"), ("127.0.0.9", branch)):
        with stranger(host) as attacker:
            port = attacker.getsockname()[1]
            attacker.sendto(
                (
                    f"CANCEL {target} SIP/2.0\r\n"
                    f"Via: SIP/2.0/UDP {host}:{port};rport;branch={used}\r\nMax-Forwards: 70\r\n"
                    f"{lines['From']}\r\n{lines['To']}\r\n{lines['Call-ID']}\r\n"
                    f"CSeq: {cseq} CANCEL\r\nContent-Length: 0\r\n\r\n"
                ).encode(),
                server,
            )
            answer = await answer_to(attacker)
            assert not answer.startswith("SIP/2.0 2"), f"CANCEL was accepted: {answer}"
    await rung.answer(200)
    await call.until("CONFIRMED")
    await _goes_on(call, rung)


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.9"])
async def test_foreign_audio_is_not_heard_while_both_talk(
    city: City, tmp_path: Path, source: str
) -> None:
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    one = await city.phone("242", tone=A, log=str(logs[0]))
    two = await city.phone("243", tone=B, log=str(logs[1]))
    call, answered = await talk(one, "243", two)
    await both_hear(call, A, answered, B)
    ports = [_engine_port(SipLog(log)) for log in logs]
    sprays = [asyncio.create_task(spray(*port, 1.5, source)) for port in ports]
    heard = await asyncio.gather(
        deaf(call, EVIL, 1.2), deaf(answered, EVIL, 1.2), both_hear(call, A, answered, B)
    )
    assert heard[:2] == [True, True]
    await asyncio.gather(*sprays)
    await _goes_on(call, answered)


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.9"])
async def test_foreign_audio_is_not_heard_before_the_first_packet_and_in_silence(
    city: City, tmp_path: Path, source: str
) -> None:
    """The far end (SIPp) never sends a packet; a stranger must not take its place."""
    log = tmp_path / "one.log"
    staff = await city.phone("242", tone=A, log=str(log))
    async with sipp("callee", port=city.system.trunk_port, pause_ms=100) as callee:
        call = await staff.call("003023125001")
        await call.until("CONFIRMED")
        invite = callee.messages[callee.messages.index("INVITE sip:") :]
        target = SipLog(log).audio_of(invite.replace("\r\n", "\n"))
        attack = asyncio.create_task(spray(*target, 1.5, source))
        assert await deaf(call, EVIL, 1.5)
        await attack
        await call.hangup()
        await callee.done()


def _engine_port(log: SipLog) -> tuple[str, int]:
    """Return where the phone sends its audio: the newest address it received."""
    received = log.received(r"SIP/2\.0 200") + log.received(r"INVITE sip:")
    return log.audio_of([message for message in received if "m=audio" in message][-1])


async def _goes_on(call: PhoneCall, answered: PhoneCall) -> None:
    await both_hear(call, A, answered, B)
    assert call.state == answered.state == "CONFIRMED"
    await call.hangup()
    await answered.until("DISCONNECTED")


async def test_citizens_number_cannot_be_claimed_from_a_strange_address(city: City) -> None:
    """Only the trunk's own address may call without credentials."""
    staff = await city.phone("242")
    citizen = await city.citizen(CITIZEN, bind="127.0.0.9")
    call = await citizen.call("242")
    ended = await call.until("DISCONNECTED", within=5)
    assert ended.code in (401, 403, 407)
    assert not staff.rings
