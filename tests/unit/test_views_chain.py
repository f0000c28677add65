"""How the answers of the `chain` commands look on a terminal."""

from dms3.cli.lines import shown
from dms3.cli.views_chain import CHAIN_VIEWS
from dms3.node.commands import TABLE

FIGURES = {
    "dapp": "guestbook",
    "held": {"states": {"integrated": 1_041, "rejected": 6}, "bytes": 10_800},
    "rounds": 10,
    "failed": 1,
    "differing": 2,
    "brought": 3,
    "offered": 4,
    "dropped": 5,
    "refused": 0,
    "barred": 9,
    "far": 0,
    "absent": 0,
    "short": 0,
    "whole": True,
}


def lines(name: str, data: dict) -> str:
    found = shown(CHAIN_VIEWS[name], data)
    assert found is not None, f"{name} misses something"
    return "\n".join("".join(piece for piece, _ in line) for line in found)


def test_every_command_about_chains_has_words_for_people() -> None:
    assert {command.name for command in TABLE if command.noun == "chain"} == set(CHAIN_VIEWS)


def test_figures_say_how_what_is_held_stands_and_what_was_not_taken() -> None:
    told = lines("chain figures", {"apps": [FIGURES]})
    assert "1,041 checked and held, 6 refused, kept as evidence" in told
    assert "1,047 ops held" in told
    assert "10 comparisons with neighbours, 1 without an answer; the last found 2 ranges" in told
    assert "brought 3, offered 4, dropped 5" in told
    assert "not taken: 9 of agents that are blocked" in told
    assert "short" not in told
    short = lines("chain reconcile", FIGURES | {"short": 1})
    assert "1 op may be short of holders; neighbours are asked" in short
    assert "still being counted" in lines("chain reconcile", FIGURES | {"whole": False})
    assert lines("chain figures", {"apps": []}) == "No app is installed."
