"""The picture of the ring: who is where, who is near, and that it stays a picture."""

from __future__ import annotations

import hashlib
import itertools
import math

from dms3.core.limits import PAGE_PEERS_MAX
from dms3.core.overlay import HOLDERS_MIN, LOCATION_BYTES
from dms3.libp2p.peer_id import ED25519, SECP256K1, PublicKey
from dms3.node.people import location_text
from dms3.web.network import CENTRE, RADIUS, draw, held, neighbourhood, turn
from dms3.web.templating import Pages


def place(leading: int, bits: int = 8) -> bytes:
    """The location that starts with the `bits` bits of `leading`, then zeros."""
    return (leading << (256 - bits)).to_bytes(LOCATION_BYTES, "big")


def peer(name: str | None = None, *, connected: bool = True) -> dict[str, object]:
    return {"name": name, "connected": connected}


def test_a_node_lies_at_the_hash_of_its_raw_key():
    key = PublicKey(ED25519, bytes(range(32)))
    assert location_text(key.peer_id) == hashlib.sha256(bytes(range(32))).hexdigest()


def test_a_node_with_a_key_of_another_kind_lies_nowhere():
    assert location_text(PublicKey(SECP256K1, bytes([2] * 33)).peer_id) is None


def test_the_nearest_are_those_with_the_longest_common_beginning():
    mine = place(0b10110000)
    near = [place(0b10110000 ^ one) for one in range(1, HOLDERS_MIN + 1)]
    found = neighbourhood(mine, [place(0b00110000), *reversed(near), place(0b01000000)])
    assert list(found.locations) == near
    assert found.bits == 4  # the eighth differs in the fourth bit from the right of the first byte


def test_fewer_nodes_than_hold_a_value_are_all_near_wherever_they_are():
    others = [place(one * 32) for one in range(HOLDERS_MIN - 1)]
    found = neighbourhood(place(255), others)
    assert set(found.locations) == set(others)
    assert found.bits == 0
    assert neighbourhood(place(0), []).locations == ()


def test_the_arc_of_the_neighbourhood_holds_me_and_everyone_near():
    mine = place(0b11111111)
    near = neighbourhood(mine, [place(0b11111111 ^ one) for one in range(1, HOLDERS_MIN + 1)])
    picture = draw(mine, near, [])
    first, last = 0b11110000 / 256, 1.0
    for at, point in (
        (first, picture["arc"].split("A")[0][1:]),
        (last, f"{CENTRE} {CENTRE - RADIUS}"),
    ):
        x, y = (float(one) for one in point.split())
        assert math.isclose(x, CENTRE + RADIUS * math.sin(2 * math.pi * at), abs_tol=0.1)
        assert math.isclose(y, CENTRE - RADIUS * math.cos(2 * math.pi * at), abs_tol=0.1)
    assert all(first <= turn(one) < last for one in (*near.locations, mine))


def test_every_node_is_on_the_ring_and_names_do_not_overlap():
    placed = [(place(one, 16), peer(f"n{one}")) for one in range(0, 1 << 16, 211)]
    picture = draw(place(0), neighbourhood(place(0), []), placed[:PAGE_PEERS_MAX])
    assert len(picture["dots"]) == PAGE_PEERS_MAX
    for dot in picture["dots"]:
        assert math.isclose(math.hypot(dot["x"] - CENTRE, dot["y"] - CENTRE), RADIUS, abs_tol=0.1)
    named = picture["labels"]
    assert 0 < len(named) < len(placed)
    turns = sorted(math.atan2(one["x"] - CENTRE, CENTRE - one["y"]) for one in named)
    assert all(after - before > 0.15 for before, after in itertools.pairwise(turns))


def test_nodes_side_by_side_share_a_label():
    placed = [(place(64), peer("bob")), (place(65), peer("carol")), (place(128), peer("dave"))]
    picture = draw(place(127), neighbourhood(place(127), []), placed)
    assert [label["text"] for label in picture["labels"]] == ["bob, carol"]
    assert picture["me"]["label"]["text"] == "you, dave"


def test_a_long_name_is_cut_and_no_name_has_no_label():
    far = [(place(64), peer("<script>alert(1)</script>")), (place(128), peer(None))]
    [label] = draw(place(0), neighbourhood(place(0), []), far)["labels"]
    assert label["text"] == "<script>aler…"


AGENT, HASH = "a" * 52, "bafyrei" + "x" * 52
CONVICTED = {
    "dapp": "guestbook",
    "agent": AGENT,
    "person": None,
    "standing": "convicted",
    "kind": "rule",
    "words": "Its action 3 breaks the rule short, line 9: <b>too long</b>.",
    "why": "",
    "actions": [HASH],
    "issuer": "",
    "found": None,
}


def warrants(**changed: object) -> str:
    """The section of the page about one agent."""
    template = Pages()._environment.get_template("warrants.html")
    return template.render(warrants=[CONVICTED | changed])


def test_a_conviction_is_shown_with_its_evidence_and_the_way_back():
    shown = warrants()
    assert "Its action 3 breaks the rule short, line 9: &lt;b&gt;too long" in shown
    assert f'href="/apps/guestbook/{HASH}"' in shown
    assert "found out by this node" in shown
    assert 'data-command="warrant pardon"' in shown
    assert 'data-command="warrant block"' in shown
    erin = warrants(person={"root": "r", "name": "<i>erin", "you": False})
    assert "&lt;i&gt;erin</strong>, agent" in erin
    assert 'aria-label="Pardon &lt;i&gt;erin in guestbook"' in erin
    assert "your own agent" in warrants(person={"root": "r", "name": "me", "you": True})
    fork = warrants(kind="fork", actions=[HASH, HASH[::-1]], issuer=AGENT)
    assert "Its two actions" in fork
    assert "first said by another agent" in fork


def test_what_the_person_has_said_is_shown_without_the_same_again():
    pardoned, blocked = warrants(standing="pardoned"), warrants(standing="blocked", why="rude")
    assert 'data-command="warrant pardon"' not in pardoned
    assert "pardoned by you" in pardoned
    assert 'data-command="warrant block"' not in blocked
    assert "You said: rude" in blocked
    empty = Pages()._environment.get_template("warrants.html").render(warrants=[])
    assert "Nothing is known here against anybody." in empty


OVERLAY = {"kind": "network", "name": "club", "nodes": 1, "values": 3, "bytes": 1_000}
BLOCKS = {"type": "block", "values": 2, "bytes": 900, "quota_bytes": 1 << 30, "radius": 1.0}
CLUB = {
    "name": "club",
    "words": "whom its admin invites",
    "local": False,
    "problem": "",
    "people": [],
    "put_out": [],
    "until_us": None,
    "membrane": "invite",
    "apps": [],
    "needed": 1,
    "admins": [],
    "spaces": [],
    "may_invite": True,
    "publish": "dms3 x",
}


def networks(**changed: object) -> str:
    """The section of the page about one network, and the overlays."""
    source = '{% import "parts.html" as parts %}{% include "networks.html" %}'
    template = Pages()._environment.from_string(source)
    rows = [OVERLAY | {"holds": [BLOCKS, BLOCKS | {"values": 0, "type": "seat"}]}]
    return template.render(networks=[CLUB | changed], overlays=rows, apps=[], contacts=["bob"])


def test_a_network_says_who_is_there_now_and_that_nobody_else_is():
    me = {"you": True, "admin": True, "name": "me", "root": "r" * 64}
    bob = {"you": False, "admin": False, "name": "<b>bob", "root": "b" * 64}
    alone = networks(people=[me])
    assert "Here now: you (admin)" in alone
    assert "no other member&#39;s node is here" in alone or "no other member's node" in alone
    both = networks(people=[me, bob])
    assert "Here now: you (admin), &lt;b&gt;bob" in both
    assert "no other member" not in both
    assert "Nobody is here just now." in networks()


def test_a_network_that_puts_out_names_who_does():
    admins = [{"you": True, "name": "me", "root": "r"}, {"you": False, "name": "bob", "root": "b"}]
    shown = networks(apps=["guestbook"], apps_words="guestbook", admins=admins, needed=2)
    assert "2 of you, bob put somebody out, by what they find out in guestbook." in shown
    mine = networks(apps=["guestbook"], apps_words="guestbook", admins=admins[:1])
    assert "Your node puts somebody out, by what it finds out in guestbook." in mine
    assert "node puts somebody out" in networks(
        apps=["guestbook"], apps_words="guestbook", admins=admins[1:]
    )


def test_what_is_held_of_a_quota_is_shown_where_something_is():
    shown = networks()
    assert "blocks: 900 bytes of 1.1 GB" in shown
    assert "seats" not in shown
    assert held([OVERLAY, OVERLAY]) == {"pieces": 6, "bytes": 2_000}
