"""Rings a person's own phone, then calls a number for them; a repeated request dials once."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from comms.bus import sip
from comms.bus.streams import Codec, Keys
from comms.people.access import Viewer, access_house
from comms.problems import Conflict, FieldProblem, Invalid, KeyReused, Unavailable
from comms.store import models as m
from comms.store.engine import reading, writing

#: a command that telephony reads later than this must not dial any more, in seconds
STALE_AFTER = 30.0

_commands: Codec[sip.Command] = Codec(sip.Command)

# The mark and the command are one step: a repeated request finds either both or none.
_DIAL_ONCE = """
if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', '10000', '*', 'm', ARGV[2])
  return 1
end
return 0
"""

_KEPT = frozenset("0123456789")


@dataclass(frozen=True, slots=True)
class Originated:
    """A call on its way, as a repeated request is told again."""

    call: str
    to: str


class Originator:
    """Dials for people.

    Args:
        remember: for how many seconds an idempotency key is remembered.
    """

    def __init__(
        self, engine: AsyncEngine, redis: Redis, keys: Keys, remember: float = 86_400.0
    ) -> None:
        self._engine = engine
        self._keys = keys
        self._remember = remember
        self._dial_once = redis.register_script(_DIAL_ONCE)

    async def do_call(self, viewer: Viewer, to: str, key: str | None) -> Originated:
        """Ask telephony for a call; return its id.

        With an idempotency key, the same request again gives the same call. The key is on record
        before telephony hears of the call, and the command is marked in the same step as it is
        written, so that neither a crash nor a repetition dials twice.

        Raises:
            NotPermitted: the person does not work here.
            Conflict: the person has no device to ring.
            Invalid: the number has no digits.
            KeyReused: the key was used for another request.
            Unavailable: telephony cannot be reached; the request may be repeated.
        """
        access_house(viewer)
        number = normal_number(to)
        originated = Originated(call=secrets.token_hex(16), to=number)
        async with reading(self._engine) as session:
            devices = select(m.Device.user).where(m.Device.person == viewer.id).limit(1)
            if await session.scalar(devices) is None:
                raise Conflict(FieldProblem("to", "no-device", "you have no phone to ring"))
        if key is not None:
            originated = await self._remembered(viewer.id, key, originated)
        command = sip.Originate(
            call=originated.call,
            person=viewer.id,
            to=number,
            expires=time.time() + STALE_AFTER,
        )
        try:
            await self._dial_once(
                keys=[self._keys.dialled(originated.call), self._keys.sip_commands],
                args=[int(self._remember), _commands.encode(command)],
            )
        except RedisError:
            raise Unavailable("telephony cannot be reached") from None
        return originated

    async def _remembered(self, person: str, key: str, new: Originated) -> Originated:
        request = hashlib.sha256(f"POST /api/v1/calls {new.to}".encode()).hexdigest()
        now = time.time()
        known = select(m.IdempotencyKey.request, m.IdempotencyKey.answer).where(
            m.IdempotencyKey.person == person, m.IdempotencyKey.key == key
        )
        for _ in range(2):
            try:
                async with writing(self._engine) as session:
                    await session.execute(
                        delete(m.IdempotencyKey).where(
                            m.IdempotencyKey.created < now - self._remember
                        )
                    )
                    row = (await session.execute(known)).one_or_none()
                    if row is None:
                        session.add(
                            m.IdempotencyKey(
                                person=person,
                                key=key,
                                request=request,
                                answer=msgspec.json.encode(new).decode(),
                                created=now,
                            )
                        )
                        return new
            except IntegrityError:
                # The same request at the same moment was first; the next round reads its answer.
                continue
            if row.request != request:
                raise KeyReused("use a new Idempotency-Key for another request")
            return msgspec.json.decode(row.answer, type=Originated)
        raise Unavailable("the same request is being handled")


def normal_number(text: str) -> str:
    """Return what people type without its separators, keeping a leading plus.

    Raises:
        Invalid: there are no digits.
    """
    digits = "".join(c for c in text if c in _KEPT)
    if not digits:
        raise Invalid(FieldProblem("to", "not-a-number", "there are no digits in it"))
    return "+" + digits if text.lstrip().startswith("+") else digits
