import asyncio
import sys

import pytest

from dms3.cli import up
from dms3.core.limits import SECOND_US, THREAD_TURN_US_MAX


def test_threads_of_a_node_take_short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.getswitchinterval()
    seen: list[float] = []

    async def observe(*_: object) -> None:
        await asyncio.sleep(0)
        seen.append(sys.getswitchinterval())

    monkeypatch.setattr(up, "up", observe)
    try:
        up.run(None, lambda _: None)  # type: ignore[arg-type]
    finally:
        sys.setswitchinterval(before)
    assert seen == [pytest.approx(THREAD_TURN_US_MAX / SECOND_US)]
