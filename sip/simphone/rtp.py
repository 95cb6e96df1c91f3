"""RTP of simulated phones: a port a call, and one clock that paces all of them.

Payload is PCMA in packets of 20 ms (RFC 3551). A port counts what arrives and keeps the last
second, so that a call can be asked whether it hears a tone.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

import numpy as np

from sip.media.g711 import PCMA, PCMU, decode
from sip.media.tones import PURE_SHARE, SILENCE_RMS, rms, tone_share
from sip.simphone.audio import FRAME_SAMPLES, RATE, SILENCE, Frames

FRAME_SECONDS = 0.02
_HEADER = struct.Struct("!BBHII")
_KEPT_FRAMES = 50
_VERSION = 0x80
_MARKER = 0x80
_KEYS = "0123456789*#"
_KEY_FRAMES = 5


class Pacer:
    """Ticks every 20 ms for all ports that have something to send."""

    def __init__(self) -> None:
        self._ports: set[RtpPort] = set()
        self._loop = asyncio.get_running_loop()
        self._next = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def add(self, port: RtpPort) -> None:
        """Let a port send a frame each tick."""
        self._ports.add(port)
        if self._handle is None:
            self._next = self._loop.time()
            self._tick()

    def remove(self, port: RtpPort) -> None:
        """Stop a port's sending."""
        self._ports.discard(port)

    def close(self) -> None:
        """Stop the clock."""
        self._ports.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tick(self) -> None:
        if not self._ports:
            self._handle = None
            return
        for port in tuple(self._ports):
            port.send_frame()
        now = self._loop.time()
        self._next += FRAME_SECONDS
        if self._next < now - 0.5:
            # the process slept: people do not catch up on what they did not say
            self._next = now + FRAME_SECONDS
        self._handle = self._loop.call_at(self._next, self._tick)


class RtpPort(asyncio.DatagramProtocol):
    """One call's audio: sends looping frames to the far end, listens to what comes."""

    def __init__(self, pacer: Pacer, ssrc: int) -> None:
        self._pacer = pacer
        self._ssrc = ssrc & 0xFFFFFFFF
        self._sequence = ssrc & 0xFFFF
        self._timestamp = 0
        self._frames: Frames = SILENCE
        self._position = 0
        self._marker = _MARKER
        self._transport: asyncio.DatagramTransport | None = None
        self._remote: tuple[str, int] | None = None
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=_KEPT_FRAMES)
        self.address = ("", 0)
        self.sent = 0
        self.received = 0
        #: packets that the sequence numbers say are missing
        self.lost = 0
        self._expected: int | None = None
        self._arrived = asyncio.Event()
        #: RFC 4733 payloads that go out instead of audio, one a frame, with the key's time
        self._keys: deque[tuple[int, int, bytes]] = deque()

    @classmethod
    async def open(cls, pacer: Pacer, ssrc: int, host: str = "127.0.0.1") -> RtpPort:
        """Open a UDP socket on a free port of `host`."""
        loop = asyncio.get_running_loop()
        _, port = await loop.create_datagram_endpoint(
            lambda: cls(pacer, ssrc), local_addr=(host, 0), family=socket.AF_INET
        )
        return port

    # --- asyncio's protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(data) < 12 or data[0] & 0xC0 != _VERSION or data[0] & 0x1F:
            return
        payload_type = data[1] & 0x7F
        if payload_type not in (PCMA, PCMU):
            return
        sequence = data[2] << 8 | data[3]
        if self._expected is not None:
            gap = (sequence - self._expected) & 0xFFFF
            if gap < 0x100:
                self.lost += gap
        self._expected = (sequence + 1) & 0xFFFF
        self.received += 1
        self._kept.append((payload_type, data[12:]))
        self._arrived.set()

    def error_received(self, exc: Exception) -> None:
        """The far end's port may be closed already: a call that ends looks like this."""

    # --- the call's side ---

    def send_to(self, remote: tuple[str, int] | None, what: Frames) -> None:
        """Send `what` to `remote` from now on; None as remote sends nothing."""
        self._remote = remote
        if what is not self._frames:
            self._frames, self._position, self._marker = what, 0, _MARKER
        if remote is not None:
            self._pacer.add(self)
        else:
            self._pacer.remove(self)

    def send_frame(self) -> None:
        """Send the next 20 ms."""
        if self._remote is None or self._transport is None or self._transport.is_closing():
            return
        if self._keys:
            self._send_key()
            return
        header = _HEADER.pack(
            _VERSION, PCMA | self._marker, self._sequence, self._timestamp, self._ssrc
        )
        self._transport.sendto(header + self._frames[self._position], self._remote)
        self._marker = 0
        self._position = (self._position + 1) % len(self._frames)
        self._advance()

    def _advance(self) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + FRAME_SAMPLES) & 0xFFFFFFFF
        self.sent += 1

    def press(self, keys: str, payload_type: int) -> None:
        """Press keys (RFC 4733), each for 100 ms with a pause as long; others are left out."""
        for key in keys:
            event = _KEYS.find(key)
            if event < 0:
                continue
            for step in range(1, _KEY_FRAMES + 3):
                # the end is sent three times (RFC 4733 §2.5.1.4)
                end = step >= _KEY_FRAMES
                duration = min(step, _KEY_FRAMES) * FRAME_SAMPLES
                body = struct.pack("!BBH", event, (0x80 if end else 0) | 10, duration)
                self._keys.append((payload_type | (_MARKER if step == 1 else 0), step, body))
            self._keys.extend([(PCMA, 0, SILENCE[0])] * _KEY_FRAMES)

    def _send_key(self) -> None:
        assert self._transport is not None
        kind, step, body = self._keys.popleft()
        # all packets of one key carry the time of its beginning
        stamp = (self._timestamp - max(0, step - 1) * FRAME_SAMPLES) & 0xFFFFFFFF
        header = _HEADER.pack(_VERSION, kind, self._sequence, stamp, self._ssrc)
        self._transport.sendto(header + body, self._remote)
        self._advance()

    def forget(self) -> None:
        """Forget what was heard so far."""
        self._kept.clear()

    def _block(self) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        return np.concatenate([decode(payload, law) for law, payload in self._kept])

    def tone_heard(self, hz: float, frames: int = 10) -> bool:
        """Return whether the newest `frames` frames are this tone."""
        if len(self._kept) < frames:
            return False
        return tone_share(self._block()[-frames * FRAME_SAMPLES :], hz, RATE) >= PURE_SHARE

    def sound_heard(self) -> bool:
        """Return whether anything but silence is in the last second."""
        return bool(self._kept) and rms(self._block()) >= SILENCE_RMS

    async def hears(self, hz: float, within: float) -> bool:
        """Wait until the tone is heard for 200 ms from now on; False if it is not in time."""
        self.forget()
        return await self._until(lambda: self.tone_heard(hz), within)

    async def hears_sound(self, within: float) -> bool:
        """Wait until something is heard; False if all stays silent."""
        self.forget()
        return await self._until(self.sound_heard, within)

    async def _until(self, condition: Callable[[], bool], within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                while not condition():
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Stop and close the socket."""
        self._pacer.remove(self)
        if self._transport is not None:
            self._transport.close()
