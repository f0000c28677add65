"""Text of others is shown as text: nothing in it turns a line around or steers a terminal."""

import asyncio
from types import SimpleNamespace

import pytest

from dms3.core.cid import RAW, Cid
from dms3.core.codec import encode
from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId, Root, SpaceId
from dms3.core.machine import Now
from dms3.crypto.certificate import PEER_ID_PREFIX
from dms3.node.documents import Documents
from dms3.node.services_store import SearchAsked
from dms3.search.messages import GrantMessage, decode_grant_message
from dms3.search.operations import FoundHit, Grants, PeerHit, PeersFound, Unreached

TRICK = "\u202egnp.exe\u2069 \x1b[2J needle\u200b"
SHOWN = " gnp.exe   [2J needle "
PEER = PeerId(PEER_ID_PREFIX + bytes(32))
SPACE = SpaceId(bytes([1]) * 32)


def test_what_peers_answer_is_shown_without_control_characters():
    hit = FoundHit(Cid.of(RAW, b"x"), TRICK, TRICK, "te\u202ext", 1)
    unreached = Unreached(SPACE, "letters", Root(bytes(32)), "node_busy", TRICK)
    found = PeersFound((PeerHit(hit, SPACE, PEER),), 1, 1, 0, 2, (unreached,))
    answers = {
        "sharing.grants": Grants((), ()),
        "sharing.search": found,
        "fetch.private": None,
        "peers.contact_list": (),
    }

    async def call(operation: str, _arguments: object = None) -> object:
        return answers[operation]

    networks = SimpleNamespace(entered=list)
    clock = SimpleNamespace(now=lambda: Now(0, 0))
    own = SimpleNamespace(
        root=bytes([2]) * 32, peer=PeerId(PEER_ID_PREFIX + bytes([2]) * 32), name=""
    )
    node = SimpleNamespace(call=call, clock=clock, networks=networks, identity=own)
    asked = SearchAsked("needle", None, None, (), "peers", 10)
    shown = asyncio.run(Documents(node).search(asked))
    (one,) = shown["hits"]
    assert (one["title"], one["snippet"], one["kind"]) == (SHOWN, SHOWN, "te xt")
    assert one["marks"] == [[15, 21]]
    assert shown["unreachable"][0]["message"] == SHOWN


@pytest.mark.parametrize("name", ["a\nb", "\u202eb", "\x1b[2J"])
def test_a_space_whose_name_is_not_one_line_of_text_is_not_taken(name):
    size = len(name.encode())
    good = encode(GrantMessage(b"certificate", b"grant", "n" * size))
    assert decode_grant_message(good).name == "n" * size
    with pytest.raises(DecodeError, match="name of the space"):
        decode_grant_message(good.replace(b"n" * size, name.encode()))
