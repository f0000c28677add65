"""How networks look on a terminal: who is in, and who was put out by whom."""

from dms3.cli.lines import shown
from dms3.cli.views_network import NETWORK_VIEWS
from dms3.node.networks_answers import _next_step

BOB, CAROL = "b" * 64, "c" * 64
ONE = {
    "name": "watch",
    "id": "d" * 64,
    "membrane": "immune",
    "words": "everybody of whom fewer than 2 admins have warned",
    "local": False,
    "admins": [{"root": BOB, "name": "bob"}, {"root": CAROL, "name": ""}],
    "needed": 2,
    "apps": ["guestbook"],
    "apps_words": "guestbook",
    "members": 3,
    "nodes": 3,
    "until_us": None,
    "spaces": [],
    "problem": "",
}


def lines(name: str, data: dict) -> str:
    found = shown(NETWORK_VIEWS[name], data)
    assert found is not None, f"{name} misses something"
    return "\n".join("".join(piece for piece, _ in line) for line in found)


def test_a_network_that_puts_people_out_says_who_does_it_and_where() -> None:
    told = lines("network create", ONE)
    assert f"2 of these put somebody out: bob, {CAROL[:12]}" in told
    assert "by what they find out in guestbook" in told
    mine = ONE | {"needed": 1, "admins": [{"root": BOB, "name": "bob", "you": True}]}
    assert "1 of these puts somebody out: you" in lines("network create", mine)
    assert "somebody out" not in lines("network create", ONE | {"apps": []})
    problem = "You may not be in this overlay (membrane-warranted)."
    assert problem in lines("network create", ONE | {"problem": problem})


def test_what_is_made_or_joined_says_what_comes_next() -> None:
    club = ONE | {"name": "my club", "apps": [], "members": 1, "nodes": 1}
    made = lines("network create", club)
    assert "no other node of a member is there now" in made
    assert "Invite somebody: dms3 network invite 'my club' CONTACT" in made
    alone = lines("network join", club)
    assert "Its members are being looked for. To look again: dms3 network members" in alone
    met = lines("network join", club | {"members": 2, "nodes": 2})
    assert "2 members here now, at 2 nodes" in met
    assert "looked for" not in met


def test_an_invitation_names_whom_it_is_for_and_what_is_missing() -> None:
    made = {"invitation": "dms3net:abc", "to": BOB, "to_name": "bob", "until_us": None}
    whole = made | {"complete": True, "signed": 1, "needed": 1}
    told = lines("network invite", whole)
    assert told.splitlines() == ["dms3net:abc", "For bob: dms3 network join INVITATION"]
    assert f"For {BOB[:12]}..." in lines("network invite", whole | {"to_name": ""})
    said = "1 more admin has to sign it."
    half = lines("network sign", made | {"complete": False, "next": said})
    assert half.splitlines()[1] == f"{said} They run: dms3 network sign INVITATION"


def test_what_to_do_with_an_invitation_depends_on_who_has_signed_it() -> None:
    assert _next_step("bob", 0) == "Give this line to bob, and to nobody else."
    assert _next_step("bob", 1).startswith("1 more admin has to sign it")
    assert _next_step("bob", 2).startswith("2 more admins have to sign it")


def test_who_was_put_out_stands_behind_the_members() -> None:
    member = {"root": BOB, "name": "bob", "you": False, "admin": True, "nodes": []}
    out = [{"root": CAROL, "name": "carol", "by": 2}]
    told = lines("network members", {"members": [member], "put_out": out})
    assert told.splitlines() == [f"bob (admin)  {BOB}", "put out: carol, of whom 2 admins warned"]
    assert "Nobody is there" in lines("network members", {"members": [], "put_out": []})
