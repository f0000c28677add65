"""The files of a home are their owner's alone, also when something was there before."""

import os
import stat

import pytest

from dms3.node.home import TOKEN_BYTES, Home, write_private


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_file_is_private_whatever_was_left_in_its_place(tmp_path):
    path = tmp_path / "secret"
    draft = tmp_path / "secret.draft"
    draft.write_bytes(b"left by a crash, longer than what is written now")
    draft.chmod(0o666)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600
    assert not draft.exists()


def test_a_draft_that_is_a_link_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"kept")
    (tmp_path / "secret.draft").symlink_to(elsewhere)
    write_private(tmp_path / "secret", b"new")
    assert elsewhere.read_bytes() == b"kept"
    assert (tmp_path / "secret").read_bytes() == b"new"


@pytest.mark.parametrize("wrong", ["readable", "empty", "short"])
def test_a_token_that_is_no_secret_is_replaced(tmp_path, wrong):
    home = Home(tmp_path)
    token = home.token()
    assert home.token() == token
    if wrong == "readable":
        home.token_file.chmod(0o644)
    else:
        home.token_file.write_text({"empty": "", "short": "a" * 31}[wrong])
    fresh = home.token()
    assert fresh != token
    assert len(fresh) >= TOKEN_BYTES
    assert mode(home.token_file) == 0o600
    assert home.token() == fresh


def test_a_home_that_is_made_is_private_under_any_umask(tmp_path):
    before = os.umask(0)
    try:
        home = Home(tmp_path / "home")
        home.create()
        with home.locked(), home.announced({"api": "127.0.0.1:1"}):
            home.token()
            files = sorted(each.name for each in home.path.iterdir())
            assert files == ["api.token", "lock", "node.json"]
            assert {mode(each) for each in home.path.iterdir()} == {0o600}
            assert mode(home.path) == 0o700
    finally:
        os.umask(before)
