"""How the guestbook behaves between people: run it with pytest, docs/testing.md says more."""


def test_a_line_is_read_on_every_node(dms3_network):
    alice, *others = dms3_network
    alice.call("sign", text="I was here", name="Alice")
    dms3_network.settle()

    for node in others:
        (line,) = node.call("entries")
        assert (line["text"], line["name"], line["author"]) == ("I was here", "Alice", alice.agent)


def test_a_line_that_is_too_long_is_written_nowhere(dms3_network):
    alice, bob = dms3_network["alice"], dms3_network["bob"]

    assert alice.refuses("sign", text="x" * 601) == "an_entry_is_short_text"
    assert bob.call("entries") == []


def test_who_leaves_out_the_rules_is_refused_by_everybody(dms3_network):
    dms3_network.byzantine("erin", "skips_own_rules")
    dms3_network["erin"].call("sign", text="x" * 601)
    dms3_network.run(seconds=10)

    refusals = [one for one in dms3_network.rejected() if one.rule == "an_entry_is_short_text"]
    assert {one.by for one in refusals} == {"alice", "bob", "carol", "dave"}
    assert {one.author for one in refusals} == {"erin"}
    assert dms3_network["alice"].call("entries") == []


def test_what_was_written_while_the_network_was_parted_is_read_afterwards(dms3_network):
    dms3_network.partition(["alice", "bob"], ["carol", "dave", "erin"])
    dms3_network["alice"].call("sign", text="from here")
    dms3_network["erin"].call("sign", text="from there")
    dms3_network.run(seconds=20)
    dms3_network.heal()
    dms3_network.run(seconds=60)

    for node in dms3_network:
        assert {line["text"] for line in node.call("entries")} == {"from here", "from there"}
