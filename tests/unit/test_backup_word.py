"""Backups keep whom this node convicted, and the person's own word: blocks and pardons."""

from pathlib import Path

from dms3.chain.operations_validation import Block, Pardon
from dms3.core.machine import Persist
from unit.test_backup import OTHER_KEYS, Kept, bring_back
from unit.validation.test_warranting import convicted, forked, lawless
from unit.validation.validation_kit import OTHERS, PLAIN, Disk, Rig, begun, ops

MACHINE = "validation/"


def backed_up(rig: Rig, folder: Path) -> None:
    """The home of `rig`, with all that its machine keeps, in a backup."""
    one = Kept(folder / "home")
    for table, rows in rig.disk.values.items():
        for key, value in rows.items():
            one.keep(MACHINE + table, key, value)
    one.backup(folder / "backup")
    close(one)


def restored(folder: Path) -> Rig:
    """Another device of the person, with what came back."""
    bring_back(folder / "backup", folder / "new")
    two, disk = Kept(folder / "new", OTHER_KEYS), Disk()
    with two.store.read() as connection:
        rows = connection.execute("SELECT tbl, key, value FROM state").fetchall()
    for table, key, value in rows:
        if str(table).startswith(MACHINE):
            disk.apply(Persist(str(table).removeprefix(MACHINE), bytes(key), bytes(value)))
    close(two)
    return Rig(disk)


def close(kept: Kept) -> None:
    kept.packs.close()
    kept.store.close()


def test_a_block_a_pardon_and_a_conviction_come_back_and_count(tmp_path: Path) -> None:
    rig = Rig()
    rude = begun(PLAIN, 3)
    liar, one, _ = forked(1)
    pardoned, bad = lawless(2)
    for chain in (rude, liar, pardoned):
        rig.codes(*ops(*chain.records), peer=OTHERS[0])
    rig.codes(*ops(one), peer=OTHERS[1])
    rig.call("block", Block(PLAIN.id, rude.signing.public, "rude"))
    rig.call("pardon", Pardon(PLAIN.id, pardoned.signing.public))
    before = convicted(rig)
    backed_up(rig, tmp_path)
    again = restored(tmp_path)
    assert convicted(again) == before
    assert {one.standing for one in before.values()} == {"blocked", "convicted", "pardoned"}
    assert again.disk.values.keys() <= {"convictions", "voices", "people"}, "no more of it"
    shut_out = sorted(each.signing.public for each in (rude, liar))
    assert list(again.shut_out) == shut_out
    for chain in (rude, liar):
        assert set(again.codes(*ops(chain.create({"text": "later"}, "note")))) == {"refused"}
    again.codes(*ops(*pardoned.records[:3], bad), peer=OTHERS[2])
    assert convicted(again)[pardoned.signing.public].standing == "pardoned", "it was looked over"
    assert convicted(again)[liar.signing.public].evidence == before[liar.signing.public].evidence
