"""Chains that began apart are held as if they had been published."""

from dms3.core.codec import decode
from dms3.source.holding import PublishRow
from dms3.testing import making, network
from dms3.validation.holding import Counts


def begun(monkeypatch, *, apart):
    """Of the nodes of a new network: how many views, what they count, who holds which op."""
    monkeypatch.setattr(making.Making, "may_share", apart)
    with network(3, "agreement") as nodes:
        disks = [node.member.sim.disk for node in nodes]
        views = set(nodes.views().values())
    counts = [decode(Counts, one) for disk in disks for one in rows(disk, "validation/counts")]
    published = [decode(PublishRow, one) for disk in disks for one in rows(disk, "source/publish")]
    waiting = [len(rows(disk, "source/pending")) for disk in disks]
    ops = [(row.seq, op.kind, op.signers, op.enough) for row in published for op in row.ops]
    return len(views), counts, waiting, sorted(ops)


def rows(disk, table):
    return list(disk.table(table).values())


def test_a_shared_past_is_what_publishing_would_have_made(monkeypatch):
    shared = begun(monkeypatch, apart=True)
    assert shared == begun(monkeypatch, apart=False)
    assert shared[0] == 1
    assert len(shared[3]) > 9


def test_an_app_with_init_or_proofs_begins_among_all(talk, tmp_path):
    for path in talk.iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    with (tmp_path / "functions.py").open("a") as file:
        file.write('\ndef init():\n    debug("begun", len(getLinks("all")))\n')
    with network(2, tmp_path) as nodes:
        assert [node.log for node in nodes] == [["begun 0"], ["begun 0"]]
        assert not nodes.making.may_share


def test_twenty_nodes_with_a_partition():
    with network(20) as nodes:
        ours = [node.name for node in nodes][:10]
        nodes.partition(ours)
        nodes["alice"].call("sign", text="here")
        nodes["trent"].call("sign", text="there")
        nodes.run(seconds=20)
        assert [line["text"] for line in nodes["judy"].call("entries")] == ["here"]
        assert [line["text"] for line in nodes["kim"].call("entries")] == ["there"]
        nodes.heal()
        nodes.run(seconds=60)
        assert len(nodes["alice"].call("entries")) == 2
        assert len(nodes["trent"].call("entries")) == 2
