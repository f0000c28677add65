"""The test kit: every fault in one line, and what is seen of it."""

import threading

import pytest

from dms3.chain.operations_validation import GetActivity
from dms3.core.errors import Dms3Error
from dms3.core.multibase import decode_base32
from dms3.testing import network


def texts(node):
    return sorted(line["text"] for line in node.call("entries"))


def test_nodes_have_names_and_an_order():
    with network(2) as nodes:
        assert [node.name for node in nodes] == ["alice", "bob"]
        assert nodes[1] is nodes["bob"]
        assert len(nodes) == 2
        assert nodes["alice"].agent != nodes["bob"].agent
        with pytest.raises(KeyError, match="no node is called 'zoe'; there are alice, bob"):
            nodes["zoe"]


@pytest.mark.parametrize("names", [0, 65, ["alice", "alice"]])
def test_impossible_networks_are_refused(names):
    with pytest.raises(Dms3Error) as refused:
        network(names)
    assert refused.value.code == "argument_invalid"


def test_a_folder_that_is_no_app_is_refused(tmp_path):
    with pytest.raises(Dms3Error) as refused:
        network(2, tmp_path)
    assert "dapp.toml" in str(refused.value)


def test_what_is_written_is_read_and_held_by_all():
    with network(3) as nodes:
        nodes["alice"].call("sign", text="hello")
        nodes.settle()
        assert [texts(node) for node in nodes] == [["hello"]] * 3
        nodes.same_view()


def test_with_the_real_dht_it_is_the_same():
    with network(3, overlay="real") as nodes:
        nodes["alice"].call("sign", text="hello")
        nodes.settle()
        assert [texts(node) for node in nodes] == [["hello"]] * 3
        nodes.same_view()


def story(seed):
    """What happens in a test with most things in it; its trace, and what carol reads."""
    with network(["alice", "bob", "carol"], seed=seed) as nodes:
        nodes["alice"].call("sign", text="one")
        nodes.partition(["alice"], ["bob", "carol"])
        nodes["bob"].call("sign", text="two")
        nodes.run(seconds=15)
        nodes.heal()
        nodes.crash("alice", when="writing")
        pending = nodes["alice"].start("sign", text="three")
        nodes.run(seconds=1)
        assert pending.over
        nodes.restart("alice")
        nodes.byzantine("bob", "alters_answers")
        nodes.run(seconds=30)
        return nodes.trace, texts(nodes["carol"])


def test_equal_seeds_give_equal_runs():
    first, again, other = story(1), story(1), story(2)
    assert first == again
    assert first[0] != other[0]


def test_parted_nodes_hear_nothing_of_each_other_until_they_are_healed():
    with network(4) as nodes:
        nodes.partition(["alice", "bob"])  # the rest is a group, too
        nodes["alice"].call("sign", text="here")
        nodes["dave"].call("sign", text="there")
        nodes.run(seconds=20)
        assert [texts(node) for node in nodes] == [["here"], ["here"], ["there"], ["there"]]

        nodes.heal()
        nodes.run(seconds=60)
        assert [texts(node) for node in nodes] == [["here", "there"]] * 4


def test_a_node_is_in_one_group():
    with network(2) as nodes, pytest.raises(Dms3Error):
        nodes.partition(["alice"], ["alice", "bob"])


def test_a_node_that_is_down_takes_no_calls_and_comes_back_with_its_chain():
    with network(3) as nodes:
        nodes["bob"].call("sign", text="before")
        nodes.settle()
        nodes.crash("bob")
        assert nodes["bob"].state == "down"
        with pytest.raises(Dms3Error) as refused:
            nodes["bob"].call("entries")
        assert refused.value.code == "node_unreachable"
        assert texts(nodes["alice"]) == ["before"]

        nodes.restart("bob")
        nodes["bob"].call("sign", text="after")
        nodes.settle()
        assert texts(nodes["alice"]) == ["after", "before"]
        nodes.same_view()


@pytest.mark.parametrize("when", ["writing", "written"])
def test_a_commit_in_which_the_node_dies_is_there_wholly_or_not_at_all(when):
    for transactions in (1, 2):
        with network(2) as nodes:
            alice, bob = nodes
            nodes.crash("alice", when=when, transactions=transactions)
            pending = alice.start("sign", text="dying")
            nodes.run(seconds=5)
            if alice.state != "down":  # the call had fewer transactions
                assert pending.result()
                continue
            nodes.restart("alice")
            nodes.settle()
            assert texts(bob) == texts(alice)
            assert texts(alice) in ([], ["dying"])
            alice.call("sign", text="again")
            nodes.settle()
            nodes.same_view()
            assert "again" in texts(bob)


def test_the_call_of_a_node_that_crashes_fails_and_leaves_no_thread():
    before = threading.active_count()
    with network(2) as nodes:
        pending = nodes["alice"].start("sign", text="x")
        nodes.crash("alice")
        with pytest.raises(Dms3Error, match="crashed"):
            pending.result()
        nodes["bob"].start("sign", text="y")
    assert threading.active_count() == before


def test_an_author_who_skips_the_rules_is_refused_by_all_others_with_rule_and_line():
    with network(["alice", "bob", "mallory"]) as nodes:
        nodes.byzantine("mallory", "skips_own_rules")
        nodes["mallory"].put("entry", {"name": "", "text": ""})
        nodes.run(seconds=10)

        refusals = nodes.rejected()
        assert {one.by for one in refusals} == {"alice", "bob"}
        (one,) = {(one.author, one.rule, one.detail) for one in refusals}
        assert one == (
            "mallory",
            "an_entry_is_short_text",
            "the text has 0 characters, not 1 to 600",
        )
        assert all(one.line > 0 for one in refusals)
        assert texts(nodes["alice"]) == []


def test_an_author_who_forks_is_seen_by_everybody():
    with network(["alice", "bob", "mallory"]) as nodes:
        nodes.byzantine("mallory", "forks")
        nodes["mallory"].call("sign", text="to both")
        nodes.run(seconds=30)

        asked = GetActivity(nodes.making.overlay, decode_base32(nodes["mallory"].agent))
        for name in ("alice", "bob"):
            assert nodes[name].ask("validation.activity", asked).state == "forked"


@pytest.mark.parametrize("way", ["alters_answers", "silent"])
def test_one_who_lies_in_answers_keeps_nobody_from_reading(way):
    with network(["alice", "bob", "mallory"]) as nodes:
        nodes.byzantine("mallory", way)
        nodes["alice"].call("sign", text="hello")
        nodes.run(seconds=30)
        assert texts(nodes["bob"]) == ["hello"]

        nodes.byzantine("mallory", "")
        nodes.run(seconds=300)
        nodes.settle()
        nodes.same_view()


def test_there_are_no_other_ways_to_lie():
    with network(2) as nodes, pytest.raises(Dms3Error) as refused:
        nodes.byzantine("bob", "politely")
    assert "skips_own_rules" in refused.value.hint


def test_what_comes_from_the_future_is_taken_when_its_time_has_come():
    with network(2) as nodes:
        nodes.clock("bob", seconds=1_200)
        nodes["bob"].call("sign", text="soon")
        nodes.run(seconds=600)
        assert texts(nodes["alice"]) == []

        nodes.run(seconds=900)
        assert texts(nodes["alice"]) == ["soon"]


def test_what_differs_is_named():
    with network(3) as nodes:
        nodes.partition(["alice"])
        nodes["alice"].call("sign", text="alone")
        nodes.same_view("bob", "carol")
        with pytest.raises(AssertionError, match="alice integrated, bob nothing"):
            nodes.same_view()


def test_a_node_that_is_alone_is_quiet_with_what_nobody_holds():
    with network(1) as nodes:
        nodes["alice"].call("sign", text="hello")
        nodes.settle()
        assert texts(nodes["alice"]) == ["hello"]
