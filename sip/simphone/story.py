"""The story of the demonstration, told once: a citizen's call reaches an agent.

Each step either succeeds or leaves a sentence that says what did not happen.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sip.simphone import city
from sip.simphone.api import Api, ApiError
from sip.simphone.audio import tone_frames
from sip.simphone.endpoint import Account, Endpoint, SimCall, SimError

CITIZEN = "+493023125001"
NUMBER = "+492214710150"
QUEUE = "buergertelefon"
_CITIZEN_HZ, _AGENT_HZ = 700.0, 1100.0
_POLL = 0.1


@dataclass(frozen=True, slots=True)
class StoryConfig:
    """Where the story is played, and how long a step may take in seconds."""

    server: tuple[str, int]
    api: str
    domain: str = "musterstadt.example"
    patience: float = 10.0
    #: greeting and menu are heard out before an agent rings
    ring_patience: float = 30.0


class _Failed(Exception):
    """A step failed; what follows cannot be judged."""


async def story(config: StoryConfig, *, on_step: Callable[[str], None] | None = None) -> list[str]:
    """Play the story against a running demonstration without simulated phones.

    `on_step` hears of each step that succeeded. Returns what failed as sentences, none if all
    went well; the story stops at a failure that makes the rest pointless.
    """
    teller = _Teller(config, on_step or (lambda _: None))
    async with contextlib.AsyncExitStack() as stack:
        try:
            await teller.play(stack)
        except _Failed as failure:
            teller.failures.append(str(failure))
        except (ApiError, SimError, OSError) as error:
            teller.failures.append(f"{teller.doing} failed: {error}.")
    return teller.failures


class _Teller:
    def __init__(self, config: StoryConfig, on_step: Callable[[str], None]) -> None:
        self._config = config
        self._on_step = on_step
        self.failures: list[str] = []
        self.doing = ""

    async def play(self, stack: contextlib.AsyncExitStack) -> None:
        config = self._config
        agent = city.agents()[0]
        rung: asyncio.Queue[SimCall] = asyncio.Queue()

        self.doing = f"Opening a phone for {agent.device}"
        endpoint = await Endpoint.open(config.server, domain=config.domain)
        stack.push_async_callback(endpoint.close)
        outside = await Endpoint.open(config.server)
        stack.push_async_callback(outside.close)

        self.doing = f"The registration of {agent.device}"
        account = endpoint.account(agent.device, agent.sip_password, rung.put_nowait)
        await account.register(config.patience)
        stack.push_async_callback(_unregister, account)
        self._on_step(f"{agent.device} is registered")

        self.doing = f"The log-in of {agent.user}"
        api = Api(config.api)
        await api.log_in(agent.user, agent.password)
        await self._available(api, agent.user)
        stack.push_async_callback(_go_offline, api)
        self._on_step(f"{agent.user} is available")

        self.doing = f"The citizen's call to {NUMBER}"
        began = time.time()
        citizen = await outside.call(NUMBER, CITIZEN)
        stack.callback(citizen.hang_up)
        await self._talk(citizen, rung)
        await self._record(api, began)

    async def _available(self, api: Api, user: str) -> None:
        deadline = time.monotonic() + self._config.patience
        await api.set_state("available")
        while True:
            me = await api.request("GET", "/api/v1/me")
            agent = me.get("agent") or {}
            if agent.get("activity") == "available" and agent.get("reachable"):
                return
            if time.monotonic() > deadline:
                shown = agent.get("activity", "unknown to the queue role")
                reach = "" if agent.get("reachable") else ", its phone counts as unreachable"
                raise _Failed(f"{user} did not become available: the API says {shown}{reach}.")
            await asyncio.sleep(_POLL)

    async def _talk(self, citizen: SimCall, rung: asyncio.Queue[SimCall]) -> None:
        patience = self._config.patience
        if not await citizen.until_answered(patience):
            how = f"refused with {citizen.status}" if citizen.status else "not answered"
            raise _Failed(f"The call to {NUMBER} was {how}.")
        self._on_step(f"{NUMBER} answers")
        citizen.say(tone_frames(_CITIZEN_HZ))
        if await citizen.audio.hears_sound(patience):
            self._on_step("the citizen hears the greeting")
        else:
            self.failures.append("The citizen heard no greeting.")

        try:
            agent = await asyncio.wait_for(rung.get(), self._config.ring_patience)
        except TimeoutError:
            raise _Failed("The agent's phone did not ring.") from None
        agent.ring()
        self._on_step("the agent's phone rings")
        if not await agent.answer(tone_frames(_AGENT_HZ)):
            raise _Failed("The agent's answer was not acknowledged.")
        heard, answered = await asyncio.gather(
            citizen.audio.hears(_AGENT_HZ, patience), agent.audio.hears(_CITIZEN_HZ, patience)
        )
        if not heard:
            self.failures.append("The citizen did not hear the agent.")
        if not answered:
            self.failures.append("The agent did not hear the citizen.")
        if heard and answered:
            self._on_step("both hear each other")

        citizen.hang_up()
        if not await agent.until_ended(patience):
            self.failures.append("The agent's phone did not end when the citizen hung up.")
        else:
            self._on_step("the citizen hangs up")

    async def _record(self, api: Api, began: float) -> None:
        self.doing = "Reading the call history"
        deadline = time.monotonic() + self._config.patience
        while True:
            for item in await api.calls():
                if item.get("queue") == QUEUE and _epoch(item["started"]) >= began - 2:
                    if item.get("cause") != "completed":
                        cause = item.get("cause")
                        raise _Failed(f"The call is on record as {cause}, not as completed.")
                    self._on_step("the call is on record")
                    return
            if time.monotonic() > deadline:
                raise _Failed("The call did not appear in the call history.")
            await asyncio.sleep(_POLL)


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def _unregister(account: Account) -> None:
    with contextlib.suppress(SimError):
        await account.unregister()


async def _go_offline(api: Api) -> None:
    with contextlib.suppress(ApiError):
        await api.set_state("offline")
