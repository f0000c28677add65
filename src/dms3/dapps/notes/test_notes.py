"""How the notes behave between people: run it with pytest, docs/testing.md says more."""

import pytest

pytestmark = pytest.mark.dms3(nodes=3)


def titles(node, group):
    return [note["title"] for note in node.call("notes", group=group)]


def test_a_note_is_read_changed_and_deleted_by_its_author(dms3_network):
    alice, bob, carol = dms3_network
    note = alice.call("write", group="garden", title="Seeds", text="beans")
    bob.call("write", group="garden", title="Tools")
    dms3_network.settle()
    assert carol.call("groups") == ["garden"]
    assert titles(carol, "garden") == ["Seeds", "Tools"]

    alice.call("edit", note=note, title="Seeds", text="peas")
    dms3_network.settle()
    (changed,) = [each for each in carol.call("notes", group="garden") if each["changed"]]
    assert changed["text"] == "peas"

    alice.call("delete", note=note)
    dms3_network.settle()
    assert titles(carol, "garden") == ["Tools"]
    assert titles(bob, "garden") == ["Tools"]


def test_nobody_changes_the_note_of_somebody_else(dms3_network):
    alice, bob, _ = dms3_network
    note = alice.call("write", group="garden", title="Seeds")
    dms3_network.settle()

    assert bob.refuses("edit", note=note, title="Weeds", text="")
    assert titles(alice, "garden") == ["Seeds"]


def test_the_content_of_a_draft_never_leaves_the_node(dms3_network):
    alice, *others = dms3_network
    alice.call("save_draft", title="A surprise", text="for bob")
    dms3_network.settle()

    assert [draft["title"] for draft in alice.call("drafts")] == ["A surprise"]
    for node in others:
        assert node.call("drafts") == []
        assert node.finds(b"surprise") == []


def test_notes_survive_the_node_that_wrote_them(dms3_network):
    alice, bob, _ = dms3_network
    alice.call("write", group="garden", title="Seeds")
    dms3_network.settle()
    dms3_network.crash("alice")

    assert titles(bob, "garden") == ["Seeds"]
