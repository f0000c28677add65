"""How networks look on a terminal: who is in, and who was put out by whom."""

from dms3.cli.lines import shown
from dms3.cli.views_network import NETWORK_VIEWS

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
    assert "put somebody out" not in lines("network create", ONE | {"apps": []})
    problem = "You may not be in this overlay (membrane-warranted)."
    assert problem in lines("network create", ONE | {"problem": problem})


def test_who_was_put_out_stands_behind_the_members() -> None:
    member = {"root": BOB, "name": "bob", "you": False, "admin": True, "nodes": []}
    out = [{"root": CAROL, "name": "carol", "by": 2}]
    told = lines("network members", {"members": [member], "put_out": out})
    assert told.splitlines() == [f"bob (admin)  {BOB}", "put out: carol, of whom 2 admins warned"]
    assert "Nobody is there" in lines("network members", {"members": [], "put_out": []})
