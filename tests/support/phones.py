"""Shorthands for conversations between pjsua2 phones."""

from __future__ import annotations

import asyncio

from sip.probe.phone import Phone, PhoneCall, PhoneTimeout

__all__ = ["Phone", "PhoneCall", "PhoneTimeout", "both_hear", "deaf", "talk"]


async def talk(caller: Phone, target: str, callee: Phone) -> tuple[PhoneCall, PhoneCall]:
    """Call `target` from `caller`, let `callee` ring and answer, and return both sides' calls."""
    call = await caller.call(target)
    answered = await callee.incoming()
    await answered.answer(180)
    await call.until("EARLY")
    await answered.answer(200)
    await asyncio.gather(call.until("CONFIRMED"), answered.until("CONFIRMED"))
    return call, answered


async def both_hear(
    one: PhoneCall, one_sends: float, two: PhoneCall, two_sends: float, within: float = 4.0
) -> None:
    """Prove two-way audio: each hears the other's tone from now on.

    Raises:
        PhoneTimeout: one of them does not.
    """
    await asyncio.gather(one.hears(two_sends, within=within), two.hears(one_sends, within=within))


async def deaf(call: PhoneCall, hz: float, seconds: float = 0.6) -> bool:
    """Return whether the tone is not heard for `seconds` from now on."""
    try:
        await call.hears(hz, seconds=0.12, within=seconds)
    except PhoneTimeout:
        return True
    return False
