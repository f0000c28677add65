"""The home of a node holds its keys: no import takes it in, so that no space can give it away."""

import pytest

from dms3.core.errors import Dms3Error
from dms3.node.home import Home
from dms3.node.walk import NODE_HOME, walk


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "person" / ".local" / "dms3")
    home.create()
    home.packs.mkdir()
    for path in (home.key, home.database, home.token_file, home.packs / "00.pack"):
        path.write_bytes(b"secret")
    (tmp_path / "person" / "letter.txt").write_text("hello")
    return home


def test_a_folder_around_a_home_is_imported_without_it(home, tmp_path):
    walked = walk([str(tmp_path / "person")])
    assert [file.name for file in walked.files] == ["letter.txt"]
    assert [(skip.path, skip.reason) for skip in walked.skips.listed] == [
        (str(home.path), NODE_HOME)
    ]


@pytest.mark.parametrize("inside", ["", "key", "packs", "packs/00.pack"])
def test_a_home_or_what_is_in_it_cannot_be_named(home, tmp_path, inside):
    (tmp_path / "link").symlink_to(home.path / inside)
    for path in (home.path / inside, tmp_path / "link"):
        with pytest.raises(Dms3Error, match="holds keys") as failure:
            walk([str(path)])
        assert failure.value.code == "argument_invalid"


def test_a_folder_with_a_file_called_key_is_a_folder_like_any_other(tmp_path):
    (tmp_path / "key").write_text("of the cellar")
    (tmp_path / "packs").mkdir()
    assert [file.name for file in walk([str(tmp_path)]).files] == ["key"]
