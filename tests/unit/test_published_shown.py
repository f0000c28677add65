"""Where a space is published, in words: none says "only you" of what members of a network read."""

from __future__ import annotations

from typing import Any

import pytest

from dms3.cli.lines import shown
from dms3.cli.views_store import STORE_VIEWS
from dms3.cli.views_system import _public
from dms3.node.publishing import LEFT, _taken_back
from dms3.web.documents import FOREVER_US, _placed
from dms3.web.templating import Pages

SPACE = {"name": "river", "mine": True, "readers": [], "public": False, "publication": None}
BOB = {"name": "bob", "root": "b" * 64, "until_us": FOREVER_US}
IN_CLUB = {"public": False, "network": "club", "stage": "done"}
PUBLIC = {"public": True, "network": None, "stage": "done"}


def rendered(macro: str, space: dict[str, Any]) -> str:
    source = '{% import "documents_parts.html" as pieces %}{{ pieces.' + macro + " }}"
    template = Pages()._environment.from_string(source)
    given = _placed(space)
    return template.render(
        space=given, forever_us=FOREVER_US, has=lambda *_: True, networks=["club"]
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Only you can read it."),
        ({"readers": [BOB]}, "bob can read and search it."),
        ({"publication": IN_CLUB}, "The members of club can find and read it."),
        (
            {"publication": IN_CLUB, "readers": [BOB]},
            "The members of club can find and read it. bob can read and search it.",
        ),
        ({"publication": PUBLIC, "public": True}, "Everybody can find and read it."),
        ({"publication": IN_CLUB | {"stage": "withdraw"}}, "Only you can read it."),
    ],
    ids=["nobody", "bob", "club", "club-and-bob", "everybody", "taken-back"],
)
def test_who_can_read_a_space_is_what_the_page_says(changes: dict[str, Any], said: str) -> None:
    assert rendered("access(space, forever_us)", SPACE | changes).strip() == said


def test_what_is_published_is_taken_back_from_where_it_is() -> None:
    alone = rendered("share_buttons(space, has)", SPACE)
    assert "Publish ..." in alone
    assert "Take back" not in alone
    for published, where in ((IN_CLUB, "club"), (PUBLIC, "the public")):
        there = SPACE | {"publication": published, "public": published["public"]}
        buttons = rendered("share_buttons(space, has)", there)
        assert f"Take back from {where} ..." in buttons
        assert "Publish ..." not in buttons


def test_a_network_can_be_chosen_where_there_is_one() -> None:
    dialogs = rendered("dialogs([], networks, has)", SPACE)
    assert '<option value="club">the members of club</option>' in dialogs
    assert "<select" not in rendered("dialogs([], [], has)", SPACE).partition('id="publish"')[2]


def test_taking_back_names_where_it_was() -> None:
    assert _taken_back("river", "club", was_public=True).endswith("in the network club any more.")
    assert _taken_back("river", None, was_public=True) == "The space river is not public any more."
    assert _taken_back("river", None, was_public=False) == "The space river is not published."
    told = {"summary": "It is gone.", "was_public": True, "left": LEFT}
    assert shown(STORE_VIEWS["store unpublish"], told) == [[(f"It is gone. {LEFT}", "")]]


def test_what_is_in_a_network_is_not_counted_as_public() -> None:
    lines = _public({"spaces": 0, "in_networks": 1, "under_way": []})
    assert lines == [[("1 space published in networks of yours.", "")]]
    assert _public({"spaces": 1, "in_networks": 0, "under_way": []}) == [[("1 space public.", "")]]
