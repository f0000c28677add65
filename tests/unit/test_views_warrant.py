"""How the answers of the `warrant` commands look on a terminal."""

from dms3.cli.lines import shown
from dms3.cli.views_warrant import WARRANT_VIEWS
from dms3.node.commands import TABLE

AGENT, OTHER, HASH = "a" * 52, "b" * 52, "bafyrei" + "x" * 52
ONE = {
    "dapp": "guestbook",
    "agent": AGENT,
    "standing": "convicted",
    "kind": "rule",
    "words": "Its action 3 breaks the rule short, line 9: too long.",
    "why": "",
    "actions": [HASH],
    "issuer": "",
    "warrant": None,
}


def lines(name: str, data: dict) -> str:
    found = shown(WARRANT_VIEWS[name], data)
    assert found is not None, f"{name} misses something"
    return "\n".join("".join(piece for piece, _ in line) for line in found)


def test_every_command_about_warrants_has_words_for_people() -> None:
    assert {command.name for command in TABLE if command.noun == "warrant"} == set(WARRANT_VIEWS)


def test_a_list_says_who_why_and_who_found_it() -> None:
    assert "Nothing is known" in lines("warrant list", {"warrants": []})
    told = lines("warrant list", {"warrants": [ONE, ONE | {"issuer": OTHER}]})
    assert "breaks the rule short, line 9" in told
    assert "found out by this node" in told
    assert f"  agent {AGENT}" in told.splitlines()
    for person, whose in (
        ({"root": "r", "name": "erin", "you": False}, "erin's "),
        ({"root": "r", "name": "me", "you": True}, "your own "),
        ({"root": "r", "name": "", "you": False}, ""),
    ):
        named = lines("warrant list", {"warrants": [ONE | {"person": person}]})
        assert f"  {whose}agent {AGENT}" in named.splitlines()
    assert f"first said by agent {OTHER}" in told


def test_one_is_shown_with_its_actions_and_the_way_back() -> None:
    action = {"seq": 3, "kind": "create", "entry_kind": "entry", "hash": HASH}
    full = ONE | {"actions": [action, action], "warrant": HASH}
    told = lines("warrant show", full)
    assert told.count("create entry") == 2
    assert f"dms3 warrant pardon guestbook {AGENT}" in told
    assert f"What it wrote: dms3 entry journey {HASH} --dapp guestbook" in told
    assert "pardoned by you" in lines("warrant pardon", full | {"standing": "pardoned"})
    mine = full | {"standing": "blocked", "kind": "", "why": "rude", "actions": []}
    assert "You said: rude" in lines("warrant block", mine)
