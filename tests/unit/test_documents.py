"""The document commands over a node of made-up answers: whom and what a name means."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.ids import Root, SpaceId
from dms3.core.machine import Now
from dms3.node.documents import Documents
from dms3.node.services_store import SearchAsked
from dms3.search.operations import (
    GivenGrant,
    Grants,
    PeersFound,
    ReceivedGrant,
    Unshare,
    Unshared,
)

SPACE, OTHER = SpaceId(b"s" * 32), SpaceId(b"t" * 32)
GONE, LIKE, ELSEWHERE = Root(b"\xab" * 32), Root(b"\xab" * 4 + bytes(28)), Root(b"\xcd" * 32)


def given(space: SpaceId, reader: Root) -> GivenGrant:
    return GivenGrant(space, "letters", reader, ("read",), 1, 2, (), "")


class FakeNode:
    """Answers machine operations from a table and notes what was asked; has one space, letters."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []
        self.clock = SimpleNamespace(now=lambda: Now(0, 0))
        self.library = SimpleNamespace(space=self.space)
        self.networks = SimpleNamespace(entered=lambda: ())

    async def space(self, name: str) -> SpaceId:
        if name != "letters":
            raise Dms3Error("not_found", f"There is no space {name!r}.")
        return SPACE

    async def call(self, operation: str, arguments: Any = None) -> Any:
        self.asked.append((operation, arguments))
        answer = self.answers[operation.replace(".", "_")]
        if isinstance(answer, Dms3Error):
            raise answer
        return answer


def unshare(contact: str) -> tuple[dict[str, Any], Any]:
    """The answer, and what the sharing machine was asked."""
    node = FakeNode(
        peers_contact_find=Dms3Error("not_found", "There is no contact."),
        sharing_grants=Grants(
            (given(SPACE, GONE), given(SPACE, LIKE), given(OTHER, ELSEWHERE)), ()
        ),
        sharing_unshare=Unshared(1),
    )
    answer = asyncio.run(Documents(node).unshare("letters", contact))
    return answer, node.asked[-1]


def test_a_reader_who_is_no_contact_any_more_is_found_by_the_root() -> None:
    for text in (GONE.hex()[:10], GONE.hex().upper()):
        answer, asked = unshare(text)
        assert asked == ("sharing.unshare", Unshare(SPACE, GONE))
        assert answer == {"space": "letters", "with": GONE.hex(), "withdrawn": 1}


@pytest.mark.parametrize("text", [GONE.hex()[:8], GONE.hex()[:7], ELSEWHERE.hex(), "bob", ""])
def test_an_ambiguous_short_or_other_root_is_nobody(text: str) -> None:
    with pytest.raises(Dms3Error, match="There is no contact"):
        unshare(text)


def search(scope: str, space: str | None) -> dict[str, Any]:
    shared = ReceivedGrant(OTHER, "hers", GONE, ("search",), 1, 2, (), ())
    node = FakeNode(
        sharing_grants=Grants((), (shared,)),
        sharing_search=PeersFound((), 7, 1, 0, 1, ()),
    )
    return asyncio.run(Documents(node).search(SearchAsked("garden", space, None, (), scope, 5)))


@pytest.mark.parametrize("scope", ["local", "peers", "all"])
def test_a_space_that_nobody_has_is_not_found_wherever_it_is_looked_for(scope: str) -> None:
    with pytest.raises(Dms3Error, match="no space 'nope'") as refused:
        search(scope, "nope")
    assert refused.value.code == "not_found"


def test_a_space_of_mine_or_shared_with_me_is_looked_for_at_peers() -> None:
    assert search("peers", "hers")["total"] == 7
    assert search("peers", None)["total"] == 7
    assert search("peers", "letters")["total"] == 0


@pytest.mark.parametrize("space", [None, "letters", "nope"])
def test_there_is_no_cloud_yet_and_that_is_said(space: str | None) -> None:
    with pytest.raises(Dms3Error, match="no cloud") as refused:
        search("cloud", space)
    assert refused.value.code == "argument_invalid"
