"""What somebody who may write into the folder of backups can lay there."""

import shutil
from pathlib import Path

from dms3.io.objects import ObjectFolder


def test_a_link_laid_into_the_folder_leads_nowhere(tmp_path: Path) -> None:
    folder, mine = ObjectFolder(tmp_path / "backup", reserve=0), tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_bytes(b"dear")
    (mine / ("ab" * 32)).write_bytes(b"named like an object")
    kept = sorted(mine.iterdir())
    with folder.held():
        folder.put(bytes(32), b"of nobody")
        (folder.path / "objects" / "ab").symlink_to(mine)
        (folder.path / "objects" / "letters").symlink_to(mine)
        (folder.path / "objects" / "00" / "read me").write_bytes(b"of the owner of the folder")
        (folder.path / "generation-00000001.manifest.part").symlink_to(mine / "letter.txt")
        folder.put_manifest(1, b"manifest")
        assert folder.prune([1], []) == len(b"of nobody")
        shutil.rmtree(folder.path / "objects" / "00")
        (folder.path / "objects" / "ab").unlink()
        (folder.path / "objects").rename(mine / "objects")
        (folder.path / "objects").symlink_to(mine / "objects")
        assert folder.prune([1], []) == 0
    assert folder.manifest(1) == b"manifest"
    (mine / "objects" / "letters").unlink()
    (mine / "objects").rmdir()
    assert sorted(mine.iterdir()) == kept
    assert (mine / "letter.txt").read_bytes() == b"dear"
