"""How notes behave between people: run it with pytest, docs/testing.md says more."""

import pytest

from dms3.core.errors import Dms3Error


def texts(node, group="all"):
    return [note["text"] for note in node.call("notes", group=group)]


@pytest.mark.dms3(nodes=3)
def test_a_group_reads_what_its_members_write_change_and_delete(dms3_network):
    alice, bob, carol = dms3_network
    first = alice.call("write", group="all", title="one", text="from alice")
    bob.call("write", group="all", title="two", text="from bob")
    bob.call("write", group="other", title="three", text="elsewhere")
    dms3_network.settle()
    assert sorted(texts(carol)) == ["from alice", "from bob"]
    assert carol.call("groups") == ["all", "other"]

    alice.call("edit", note=first, title="one", text="other words")
    dms3_network.settle()
    (changed,) = [note for note in carol.call("notes", group="all") if note["note"] == first]
    assert (changed["text"], changed["changed"]) == ("other words", True)

    alice.call("delete", note=first)
    dms3_network.settle()
    assert texts(carol) == ["from bob"]


@pytest.mark.dms3(nodes=2)
def test_nobody_changes_or_deletes_what_another_wrote(dms3_network):
    alice, bob = dms3_network
    note = alice.call("write", group="all", title="mine", text="words")
    dms3_network.settle()
    for function, more in (("edit", {"title": "mine", "text": "other"}), ("delete", {})):
        with pytest.raises(Dms3Error):
            bob.call(function, note=note, **more)
    assert texts(alice) == ["words"]


@pytest.mark.dms3(nodes=2)
def test_a_draft_is_read_by_its_author_alone(dms3_network):
    alice, bob = dms3_network
    draft = alice.call("save_draft", title="mine", text="not yet")
    dms3_network.settle()
    (kept,) = alice.call("drafts")
    assert (kept["text"], kept["draft"]) == ("not yet", draft)
    assert bob.call("drafts") == []
    assert bob.call("groups") == []
    alice.call("drop_draft", draft=draft)
    assert alice.call("drafts") == []


@pytest.mark.dms3(nodes=2)
def test_what_is_no_note_is_refused(dms3_network):
    alice, _ = dms3_network
    rule = "a_note_is_a_title_and_a_text"
    assert alice.refuses("write", group="all", title="two\nlines") == rule
    assert alice.refuses("write", group="all", title="x" * 121) == rule
    assert alice.refuses("write", group="all", title="x", text="y" * 20_001) == rule
