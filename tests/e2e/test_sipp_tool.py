"""The SIPp scenarios work against each other, so that a failure elsewhere is the system's."""

from __future__ import annotations

import pytest
from support.sipp import SippError, sipp

pytestmark = pytest.mark.e2e
CALLER = {"caller": "+4922155501"}


async def test_caller_and_callee_talk() -> None:
    async with sipp("callee", pause_ms=50) as callee:
        server = ("127.0.0.1", callee.port)
        async with sipp("caller", server, number="201", keys=CALLER, pause_ms=50) as caller:
            result = await caller.done()
            assert result.successful == 1
            await callee.done()


@pytest.mark.parametrize("status", ["486 Busy Here", "603 Decline"])
async def test_refusal(status: str) -> None:
    async with sipp("callee_refuses", status=status, pause_ms=20) as callee:
        server = ("127.0.0.1", callee.port)
        async with sipp("caller_refused", server, number="201", keys=CALLER) as caller:
            assert f"SIP/2.0 {status}" in (await caller.done()).messages
            await callee.done()


async def test_cancelled_while_ringing() -> None:
    async with sipp("callee_silent") as callee:
        server = ("127.0.0.1", callee.port)
        async with sipp("caller_cancels", server, number="1", keys=CALLER, pause_ms=50) as caller:
            await caller.done()
            await callee.done()


async def test_early_media() -> None:
    async with sipp("callee_early_media", pause_ms=50, echo=True) as callee:
        server = ("127.0.0.1", callee.port)
        async with sipp("caller", server, number="201", keys=CALLER, pause_ms=50) as caller:
            assert "SIP/2.0 183" in (await caller.done()).messages
            await callee.done()


async def test_failure_is_told() -> None:
    async with sipp("callee_refuses", status="486 Busy Here", pause_ms=1) as callee:
        server = ("127.0.0.1", callee.port)
        async with sipp("caller", server, number="201", keys=CALLER, pause_ms=50) as caller:
            with pytest.raises(SippError, match="caller failed"):
                await caller.done()
