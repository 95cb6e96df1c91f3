"""One pjsua2 phone in a process of its own, driven by JSON lines.

Requests come on standard input, one JSON object a line: `{"id": 7, "do": "call", ...}`. Answers
(`{"id": 7, "result": ...}` or `{"id": 7, "error": "..."}`) and events (`{"event": "state", ...}`)
go to standard output. The phone ends when its input does, so it never outlives its owner.

The library runs without threads of its own for signalling (`threadCnt=0`, `mainThreadOnly`):
this process's one thread turns `libHandleEvents` and reads requests in between.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pjsua2 as pj

TURN_MS = 5
CLOCK_RATE = 16000
_TRANSPORTS = {
    "udp": pj.PJSIP_TRANSPORT_UDP,
    "tcp": pj.PJSIP_TRANSPORT_TCP,
    "tls": pj.PJSIP_TRANSPORT_TLS,
}
_STATES = {
    pj.PJSIP_INV_STATE_NULL: "NULL",
    pj.PJSIP_INV_STATE_CALLING: "CALLING",
    pj.PJSIP_INV_STATE_INCOMING: "INCOMING",
    pj.PJSIP_INV_STATE_EARLY: "EARLY",
    pj.PJSIP_INV_STATE_CONNECTING: "CONNECTING",
    pj.PJSIP_INV_STATE_CONFIRMED: "CONFIRMED",
    pj.PJSIP_INV_STATE_DISCONNECTED: "DISCONNECTED",
}
_MEDIA = {
    pj.PJSUA_CALL_MEDIA_NONE: "none",
    pj.PJSUA_CALL_MEDIA_ACTIVE: "active",
    pj.PJSUA_CALL_MEDIA_LOCAL_HOLD: "local-hold",
    pj.PJSUA_CALL_MEDIA_REMOTE_HOLD: "remote-hold",
    pj.PJSUA_CALL_MEDIA_ERROR: "error",
}
_PR_SET_PDEATHSIG = 1


class _Call(pj.Call):  # type: ignore[misc]
    """A call that reports what happens to it, sends a tone and records what it hears."""

    def __init__(self, phone: _Process, account: _Account, number: int, call_id: int = -1) -> None:
        super().__init__(account, call_id)
        self.phone = phone
        self.number = number
        self.recorder: Any = None
        self.recording = phone.folder / f"call-{number}.wav"
        self.over = False

    def onCallState(self, prm: Any) -> None:
        with self.phone.guard():
            info = self.getInfo()
            self.over = info.state == pj.PJSIP_INV_STATE_DISCONNECTED
            self.phone.tell(
                event="state",
                call=self.number,
                state=_STATES.get(info.state, str(info.state)),
                code=int(info.lastStatusCode),
                reason=info.lastReason,
            )
            if self.over:
                self.phone.finished.append(self)

    def onCallMediaState(self, prm: Any) -> None:
        with self.phone.guard():
            info = self.getInfo()
            for index, media in enumerate(info.media):
                if media.type != pj.PJMEDIA_TYPE_AUDIO:
                    continue
                if media.status in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
                    self._connect(index)
                self.phone.tell(
                    event="media",
                    call=self.number,
                    media=_MEDIA.get(media.status, str(media.status)),
                    state=_STATES.get(info.state, str(info.state)),
                )

    def _connect(self, index: int) -> None:
        audio = self.getAudioMedia(index)
        if self.recorder is None:
            self.recorder = pj.AudioMediaRecorder()
            self.recorder.createRecorder(str(self.recording))
            self.phone.tell(event="recording", call=self.number, path=str(self.recording))
        audio.startTransmit(self.recorder)
        if self.phone.generator is not None:
            self.phone.generator.startTransmit(audio)

    def onDtmfDigit(self, prm: Any) -> None:
        with self.phone.guard():
            self.phone.tell(event="dtmf", call=self.number, digit=prm.digit)

    def onCallTransferStatus(self, prm: Any) -> None:
        with self.phone.guard():
            self.phone.tell(
                event="transfer",
                call=self.number,
                code=int(prm.statusCode),
                final=bool(prm.finalNotify),
            )

    def onCallTransferRequest(self, prm: Any) -> None:
        with self.phone.guard():
            self.phone.adopt_transfer(self, prm)


class _Account(pj.Account):  # type: ignore[misc]
    """The phone's one account."""

    def __init__(self, phone: _Process) -> None:
        super().__init__()
        self.phone = phone

    def onRegState(self, prm: Any) -> None:
        with self.phone.guard():
            self.phone.tell(
                event="registration",
                code=int(prm.code),
                reason=prm.reason,
                active=bool(self.getInfo().regIsActive),
            )

    def onIncomingCall(self, prm: Any) -> None:
        with self.phone.guard():
            call = self.phone.add_call(prm.callId)
            info = call.getInfo()
            self.phone.tell(
                event="incoming",
                call=call.number,
                remote=info.remoteUri,
                message=prm.rdata.wholeMsg,
            )
            if self.phone.auto_answer:
                call.answer(_code(self.phone.auto_answer))


def _code(code: int) -> Any:
    prm = pj.CallOpParam(True)
    prm.statusCode = code
    return prm


def _headers(option: Any, headers: dict[str, str]) -> None:
    for name, value in headers.items():
        header = pj.SipHeader()
        header.hName = name
        header.hValue = value
        option.headers.append(header)


class _Process:
    """The endpoint, its account and calls, and the pipe."""

    def __init__(self, output: int) -> None:
        self._output = output
        self.calls: dict[int, _Call] = {}
        self.finished: list[_Call] = []
        self._numbers = 0
        self.endpoint: Any = None
        self.account: Any = None
        self.generator: Any = None
        self.auto_answer = 0
        self.folder = Path(".")
        self._stopping = False
        self._suffix = ""
        self._verbs: dict[str, Callable[..., Any]] = {
            "start": self.start,
            "register": self.register,
            "call": self.call,
            "answer": self.answer,
            "hangup": self.hangup,
            "hold": self.hold,
            "resume": self.resume,
            "update": self.update,
            "dtmf": self.dtmf,
            "transfer": self.transfer,
            "attend": self.attend,
            "tone": self.tone,
            "play": self.play,
            "statistics": self.statistics,
            "stop": self.stop,
        }

    # --- the pipe ---------------------------------------------------------------------------

    def tell(self, **fields: Any) -> None:
        fields["at"] = time.monotonic()
        data = json.dumps(fields).encode() + b"\n"
        while data:
            data = data[os.write(self._output, data) :]

    @contextlib.contextmanager
    def guard(self) -> Any:
        """Report what goes wrong in a callback: an exception there would end the process."""
        try:
            yield
        except (pj.Error, LookupError, RuntimeError, OSError, TypeError, AttributeError):
            self.tell(event="trouble", text=traceback.format_exc(limit=4))

    def run(self) -> None:
        buffer = b""
        os.set_blocking(0, False)
        while not self._stopping:
            if self.endpoint is None:
                select.select([0], [], [])
            else:
                self.endpoint.libHandleEvents(TURN_MS)
            self._drop_finished()
            with contextlib.suppress(BlockingIOError):
                data = os.read(0, 65536)
                if not data:
                    break
                buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                self._serve(json.loads(line))
        self._destroy()

    def _serve(self, request: dict[str, Any]) -> None:
        number = request.pop("id")
        verb = self._verbs[request.pop("do")]
        try:
            self.tell(id=number, result=verb(**request))
        except pj.Error as error:
            self.tell(id=number, error=f"{error.title}: {error.reason}")
        except (ValueError, TypeError) as error:
            self.tell(id=number, error=str(error))

    def _drop_finished(self) -> None:
        # A call object may only go once its last callback has returned.
        for call in self.finished:
            self.calls.pop(call.number, None)
            call.recorder = None
        self.finished.clear()

    def _destroy(self) -> None:
        if self.endpoint is None:
            return
        self.finished = list(self.calls.values())
        self._drop_finished()
        self.generator = None
        self.account = None
        self.endpoint.libDestroy(pj.PJSUA_DESTROY_NO_NETWORK)

    # --- verbs ------------------------------------------------------------------------------

    def start(
        self,
        *,
        user: str,
        password: str,
        host: str,
        port: int,
        domain: str,
        transport: str,
        codecs: list[str],
        bind: str,
        bind_port: int,
        folder: str,
        tone: float | None,
        auto_answer: int,
        session_timer: int,
        srtp: int,
        expires: int,
        proxy: bool,
        log: str,
    ) -> dict[str, Any]:
        self.folder = Path(folder)
        self.auto_answer = auto_answer
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.uaConfig.userAgent = "comms-probe"
        config.logConfig.consoleLevel = 0
        config.logConfig.level = 5 if log else 0
        config.logConfig.filename = log
        config.medConfig.clockRate = CLOCK_RATE
        config.medConfig.sndClockRate = CLOCK_RATE
        config.medConfig.quality = 2
        config.medConfig.ecTailLen = 0
        config.medConfig.noVad = True
        self.endpoint.libInit(config)

        kind = _TRANSPORTS[transport]
        transport_config = pj.TransportConfig()
        transport_config.boundAddress = bind
        transport_config.port = bind_port
        if transport == "tls":
            # The phone proves the way, not the certificate: demonstrations sign their own.
            transport_config.tlsConfig.verifyServer = False
        transport_id = self.endpoint.transportCreate(kind, transport_config)
        self.endpoint.libStart()
        self.endpoint.audDevManager().setNullDev()
        for codec in self.endpoint.codecEnum2():
            name = codec.codecId.split("/")[0]
            rank = 250 - codecs.index(name) if name in codecs else 0
            self.endpoint.codecSetPriority(codec.codecId, rank)
        local = self.endpoint.transportGetInfo(transport_id).localName

        self._suffix = "" if transport == "udp" else f";transport={transport}"
        server = f"sip:{host}:{port}{self._suffix}" if host else ""
        account = pj.AccountConfig()
        account.idUri = f"sip:{user}@{domain or local}"
        account.regConfig.registerOnAdd = False
        account.regConfig.timeoutSec = expires
        account.regConfig.retryIntervalSec = 0
        account.regConfig.unregWaitMsec = 1000
        if host:
            account.regConfig.registrarUri = (
                f"sip:{domain}{self._suffix}" if proxy and domain else server
            )
        if password:
            account.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", user, 0, password))
        if proxy and host:
            account.sipConfig.proxies.append(f"{server};lr")
        account.natConfig.contactRewriteUse = 0
        account.natConfig.viaRewriteUse = 0
        account.natConfig.sdpNatRewriteUse = 0
        account.natConfig.sipOutboundUse = 0
        account.mediaConfig.transportConfig.boundAddress = bind
        account.mediaConfig.transportConfig.port = 0
        account.mediaConfig.srtpUse = srtp
        account.mediaConfig.srtpSecureSignaling = 0
        account.callConfig.timerMinSESec = 90
        if session_timer:
            account.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS
            account.callConfig.timerSessExpiresSec = session_timer
        else:
            account.callConfig.timerUse = pj.PJSUA_SIP_TIMER_OPTIONAL
        self.account = _Account(self)
        self.account.create(account)
        if tone:
            self.tone(hz=tone)
        return {"local": local}

    def register(self, *, renew: bool) -> None:
        self.account.setRegistration(renew)

    def add_call(self, call_id: int = -1) -> _Call:
        self._numbers += 1
        call = _Call(self, self.account, self._numbers, call_id)
        self.calls[self._numbers] = call
        return call

    def call(self, *, uri: str, headers: dict[str, str]) -> int:
        call = self.add_call()
        prm = pj.CallOpParam(True)
        prm.opt.videoCount = 0
        _headers(prm.txOption, headers)
        try:
            call.makeCall(uri, prm)
        except pj.Error:
            self.calls.pop(call.number, None)
            raise
        return call.number

    def _line(self, number: int) -> _Call:
        call = self.calls.get(number)
        if call is None:
            raise ValueError(f"call {number} is over")
        return call

    def answer(self, *, call: int, code: int) -> None:
        self._line(call).answer(_code(code))

    def hangup(self, *, call: int, code: int) -> None:
        self._line(call).hangup(_code(code) if code else pj.CallOpParam(True))

    def hold(self, *, call: int) -> None:
        self._line(call).setHold(pj.CallOpParam(True))

    def resume(self, *, call: int) -> None:
        prm = pj.CallOpParam(True)
        prm.opt.videoCount = 0
        prm.opt.flag = pj.PJSUA_CALL_UNHOLD
        self._line(call).reinvite(prm)

    def update(self, *, call: int) -> None:
        prm = pj.CallOpParam(True)
        prm.opt.videoCount = 0
        self._line(call).update(prm)

    def dtmf(self, *, call: int, digits: str) -> None:
        self._line(call).dialDtmf(digits)

    def transfer(self, *, call: int, uri: str) -> None:
        self._line(call).xfer(uri, pj.CallOpParam(True))

    def attend(self, *, call: int, other: int) -> None:
        self._line(call).xferReplaces(self._line(other), pj.CallOpParam(True))

    def adopt_transfer(self, call: _Call, prm: Any) -> None:
        """Follow a REFER that the far end sent: the new call is reported like one placed here."""
        new = self.add_call()
        prm.newCall = new
        self.tell(event="referred", call=call.number, new=new.number, uri=prm.dstUri)

    def tone(self, *, hz: float) -> None:
        generator = pj.ToneGenerator()
        generator.createToneGenerator(CLOCK_RATE, 1)
        desc = pj.ToneDesc()
        desc.freq1 = round(hz)
        desc.freq2 = 0
        desc.on_msec = 20000
        desc.off_msec = 0
        desc.volume = 8000
        tones = pj.ToneDescVector()
        tones.append(desc)
        generator.play(tones, True)
        self._send(generator)

    def play(self, *, path: str) -> None:
        player = pj.AudioMediaPlayer()
        player.createPlayer(path, 0)
        self._send(player)

    def _send(self, source: Any) -> None:
        old, self.generator = self.generator, source
        for call in self.calls.values():
            with contextlib.suppress(pj.Error):
                audio = call.getAudioMedia(-1)
                source.startTransmit(audio)
        del old

    def statistics(self, *, call: int) -> dict[str, Any]:
        rtcp = self._line(call).getStreamStat(0).rtcp
        return {
            "sent": int(rtcp.txStat.pkt),
            "received": int(rtcp.rxStat.pkt),
            "lost": int(rtcp.rxStat.loss),
            "jitter_ms": rtcp.rxStat.jitterUsec.mean / 1000,
            "round_trip_ms": rtcp.rttUsec.mean / 1000 if rtcp.rttUsec.n else None,
        }

    def stop(self) -> None:
        self._stopping = True


def main() -> None:
    """Run the phone until the input ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The library greets on standard output, which carries the protocol here.
    output = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _Process(output).run()
    # Skip the interpreter's teardown: the order of its destructors is not the library's.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
