"""The key file: modes, passphrases, damage, and crashes at every step of a replacement."""

import os
import stat

import pytest

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import PASSPHRASE_BYTES_MAX, PASSPHRASE_CHARS_MIN
from dms3.io import keyfile as module
from dms3.io.keyfile import KeyFile, decode_key_file

PASSPHRASE = "four random words here"


class Counting:
    """Entropy that never repeats itself."""

    def __init__(self) -> None:
        self.count = 0

    def draw(self, count):
        self.count += 1
        return bytes([self.count]) * count


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    monkeypatch.setattr(module, "ARGON2_MEMORY_KIB", 64)
    monkeypatch.setattr(module, "ARGON2_PASSES", 1)


@pytest.fixture
def file(tmp_path):
    return KeyFile(tmp_path / "key", Counting())


def code(call, *arguments):  # noqa: ANN002 - whatever the call takes
    with pytest.raises(Dms3Error) as caught:
        call(*arguments)
    assert PASSPHRASE not in str(caught.value)
    return caught.value.code


def test_created_private_and_read_back(file, tmp_path):
    key = file.create()
    assert len(key) == 32
    assert file.open() == key
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert not file.protected()
    assert code(file.create) == "already_exists"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_wider_mode_is_refused_with_the_fix(file, tmp_path, mode):
    file.create()
    (tmp_path / "key").chmod(mode)
    with pytest.raises(Dms3Error, match="chmod 600") as caught:
        file.open()
    assert caught.value.code == "home_unusable"
    (tmp_path / "key").chmod(0o600)
    file.open()


def test_protect_unlock_change_and_remove(file, tmp_path):
    key = file.create()
    file.protect(PASSPHRASE)
    assert file.protected()
    assert code(file.open) == "node_locked"
    assert file.unlock(PASSPHRASE) == key
    assert code(file.unlock, "another passphrase") == "passphrase_wrong"
    assert key not in (tmp_path / "key").read_bytes()
    assert code(file.protect, "a new passphrase") == "node_locked"
    assert code(file.protect, "a new passphrase", "not the old one") == "passphrase_wrong"
    file.protect("a new passphrase", PASSPHRASE)
    assert file.unlock("a new passphrase") == key
    assert code(file.unlock, PASSPHRASE) == "passphrase_wrong"
    assert code(file.unprotect, PASSPHRASE) == "passphrase_wrong"
    file.unprotect("a new passphrase")
    assert file.open() == key
    assert code(file.unlock, "a new passphrase") == "passphrase_wrong"


def test_a_passphrase_typed_in_another_unicode_form_is_the_same(file):
    key = file.create()
    file.protect("schl\u00fcsselwort")
    assert file.unlock("schlu\u0308sselwort") == key


def test_the_bounds_of_a_passphrase(file):
    file.create()
    assert code(file.protect, "x" * (PASSPHRASE_CHARS_MIN - 1)) == "argument_invalid"
    assert code(file.protect, "x" * (PASSPHRASE_BYTES_MAX + 1)) == "argument_invalid"
    file.protect("x" * PASSPHRASE_CHARS_MIN)
    file.protect("x" * PASSPHRASE_BYTES_MAX, "x" * PASSPHRASE_CHARS_MIN)


def test_characters_of_a_passphrase_are_counted_and_not_bytes(file):
    file.create()
    short = "\u00e4" * (PASSPHRASE_CHARS_MIN - 1)
    assert len(short.encode()) >= PASSPHRASE_CHARS_MIN
    assert code(file.protect, short) == "argument_invalid"
    file.protect(short + "\u00e4")


@pytest.mark.parametrize("protected", [False, True])
def test_every_damaged_byte_is_noticed(file, tmp_path, protected):
    key = file.create()
    if protected:
        file.protect(PASSPHRASE)
    path = tmp_path / "key"
    data = path.read_bytes()
    wrong = 0
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            found = file.unlock(PASSPHRASE) if protected else file.open()
        except Dms3Error as error:
            assert error.code in ("home_unusable", "passphrase_wrong")  # noqa: PT017 - some pass
            wrong += 1
        else:
            assert not protected, f"byte {place}"
            assert found != key  # plain key bytes: the database will not open
    assert wrong >= len(data) - (0 if protected else 32)


@pytest.mark.parametrize("content", [b"", b"dms3", b"dms3 key 1\n", b"x" * 5000])
def test_a_file_of_something_else(file, tmp_path, content):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    assert code(file.open) == "home_unusable"
    with pytest.raises(DecodeError):
        decode_key_file(content)


def test_missing_folder_and_link(file, tmp_path):
    assert not file.exists()
    assert code(file.open) == "home_unusable"
    (tmp_path / "real").write_bytes(b"")
    (tmp_path / "key").symlink_to(tmp_path / "real")
    assert code(file.open) == "home_unusable"
    (tmp_path / "key").unlink()
    (tmp_path / "key").mkdir(mode=0o700)
    assert code(file.open) == "home_unusable"


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_a_crash_at_any_step_leaves_the_old_or_the_new_key(file, tmp_path, monkeypatch, step):
    key = file.create()

    def crash(_source=None, _target=None):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "replace":
            patch.setattr("pathlib.Path.replace", crash)
        elif step == "fsync":
            patch.setattr(os, "fsync", crash)
        else:
            real = os.open
            patch.setattr(
                os,
                "open",
                lambda path, *rest: crash() if str(path).endswith(".new") else real(path, *rest),
            )
        with pytest.raises(KeyboardInterrupt):
            file.protect(PASSPHRASE)
    assert file.open() == key
    file.protect(PASSPHRASE)  # what the crash left is no obstacle
    assert file.unlock(PASSPHRASE) == key
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_full_disk_is_said_and_keeps_the_old_file(file, monkeypatch):
    key = file.create()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert code(file.protect, PASSPHRASE) == "disk_full"
    assert file.open() == key


def test_nothing_is_shown(file, tmp_path):
    key = file.create()
    content = decode_key_file((tmp_path / "key").read_bytes())
    for text in (repr(file), repr(content)):
        assert key.hex() not in text
        assert repr(key) not in text
