"""Names of people behind agents: by a certificate that fits, looked up once, and again later."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from dms3.chain.agent import AgentPlace, issue_agent
from dms3.core.errors import Dms3Error
from dms3.core.ids import OverlayId
from dms3.core.limits import AGENTS_NAMED_AGAIN_US, AGENTS_NAMED_MAX
from dms3.core.machine import Now
from dms3.crypto.signing import SigningKey
from dms3.node.agent_people import Behind, People

DNA = OverlayId(b"d" * 32)
ERIN, BOB = SigningKey.of_seed(b"e" * 32), SigningKey.of_seed(b"b" * 32)
AGENT = SigningKey.of_seed(b"a" * 32).public


class Asked:
    """Answers of machine "validation" and the time, as a test sets them."""

    def __init__(self) -> None:
        self.us = 0
        self.count = 0
        self.actions: list[Any] | None = None

    def now(self) -> Now:
        return Now(self.us, self.us)

    async def call(self, operation: str, asked: Any) -> Any:
        assert (operation, asked.after, asked.limit) == ("validation.activity", 1, 1)
        self.count += 1
        if self.actions is None:
            raise Dms3Error("timed_out", "Nobody answers.")
        return SimpleNamespace(actions=self.actions)

    def certified(self, by: SigningKey, named: bytes, agent: bytes = AGENT, seq: int = 2) -> None:
        certificate = issue_agent(by, AgentPlace(DNA, agent, b"d" * 16), 1)
        action = SimpleNamespace(seq=seq, root=named, certificate=certificate)
        self.actions = [SimpleNamespace(action=action)]

    def found(self, behind: Behind, *agents: bytes) -> dict[bytes, bytes]:
        return asyncio.run(behind.of((DNA, each) for each in agents or (AGENT,)))


def test_a_certificate_that_fits_names_the_person_and_is_looked_up_once():
    asked = Asked()
    behind = Behind(asked.call, asked)
    asked.certified(ERIN, ERIN.public)
    assert asked.found(behind) == {AGENT: ERIN.public}
    asked.actions = None
    asked.us = 10 * AGENTS_NAMED_AGAIN_US
    assert asked.found(behind) == {AGENT: ERIN.public}
    assert asked.count == 1


def test_nobody_is_named_who_has_not_signed_for_that_agent():
    other = SigningKey.of_seed(b"o" * 32).public
    for by, named, agent, seq in (
        (ERIN, BOB.public, AGENT, 2),  # she names Bob, who has certified nothing
        (ERIN, ERIN.public, other, 2),  # a certificate of another agent
        (ERIN, ERIN.public, AGENT, 3),  # not where it belongs
    ):
        asked = Asked()
        asked.certified(by, named, agent, seq)
        assert asked.found(Behind(asked.call, asked)) == {}
    asked.actions = [SimpleNamespace(action=SimpleNamespace(seq=2, root=b"", certificate=b"no"))]
    assert asked.found(Behind(asked.call, asked)) == {}


def test_who_was_not_found_is_asked_for_again_later_and_a_long_list_in_parts():
    asked = Asked()
    behind = Behind(asked.call, asked)
    assert asked.found(behind) == asked.found(behind) == {}
    assert asked.count == 1
    asked.us = AGENTS_NAMED_AGAIN_US - 1
    assert asked.found(behind) == {}
    asked.us += 1
    asked.certified(ERIN, ERIN.public)
    assert asked.found(behind) == {AGENT: ERIN.public}
    many = [bytes([number]) * 32 for number in range(AGENTS_NAMED_MAX + 3)]
    asked.count = 0
    assert asked.found(behind, *many) == {}
    assert asked.count == AGENTS_NAMED_MAX
    asked.found(behind, *many)
    assert asked.count == AGENTS_NAMED_MAX + 3


def test_a_person_is_shown_by_name_and_as_oneself():
    people = People({b"r": "erin", b"m": "me"}, b"m")
    assert people.row(None) is None
    assert people.row(b"r") == {"root": b"r".hex(), "name": "erin", "you": False}
    assert people.row(b"m") == {"root": b"m".hex(), "name": "me", "you": True}
    assert people.row(b"x") == {"root": b"x".hex(), "name": "", "you": False}
