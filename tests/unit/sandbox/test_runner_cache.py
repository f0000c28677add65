"""Where the runner lies: made once, checked before it is used. Nothing is built here."""

import os
import subprocess
import sys
import threading

import pytest
from wasmtime import WasmtimeError

from dms3.core.errors import Dms3Error
from dms3.core.limits import RUNNER_KEPT_MAX
from dms3.io import runner_build, runner_cache
from dms3.io.runner_cache import RunnerCache, cache_folder


@pytest.fixture
def made(monkeypatch):
    """What was built and compiled, with stand-ins that take no time."""
    log: list[str] = []

    def build(target, guest):
        log.append("built")
        target.write_bytes(b"component of " + runner_build.recipe(guest).encode())

    def compile_(plain, optimization):
        log.append(f"compiled {optimization}")
        return b"native " + plain.read_bytes()

    monkeypatch.setattr(runner_cache, "build", build)
    monkeypatch.setattr(runner_cache, "_compiled", compile_)
    return log


@pytest.fixture
def guest(tmp_path):
    folder = tmp_path / "guest"
    folder.mkdir()
    (folder / "app.py").write_text("x = 1\n")
    return folder


def test_it_is_made_once_and_found_then(tmp_path, guest, made):
    cache = RunnerCache(tmp_path, guest=guest)
    assert cache.find() is None
    phases: list[str] = []
    runner = cache.make(phases.append)
    assert phases == ["building", "compiling", "ready"]
    assert runner.path.read_bytes().startswith(b"native component of ")
    again = RunnerCache(tmp_path, guest=guest)
    assert again.find() == runner == again.make(phases.append)
    assert phases[3:] == ["ready"]
    assert made == ["built", "compiled speed"]


def test_files_and_folder_are_for_their_owner_alone(tmp_path, guest, made):
    path = RunnerCache(tmp_path, guest=guest).make().path
    assert made
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}


def test_another_text_is_another_recipe(tmp_path, guest, made):
    first = RunnerCache(tmp_path, guest=guest)
    first.make()
    (guest / "app.py").write_text("x = 2\n")
    second = RunnerCache(tmp_path, guest=guest)
    assert second.recipe != first.recipe
    assert second.find() is None
    second.make()
    assert first.find() is not None
    assert made.count("built") == 2


def test_another_way_of_compiling_is_another_file(tmp_path, guest, made):
    fast = RunnerCache(tmp_path, guest=guest).make()
    slow = RunnerCache(tmp_path, guest=guest, optimization="none").make()
    assert fast.path != slow.path
    assert made == ["built", "compiled speed", "compiled none"]


@pytest.mark.parametrize("harm", ["byte", "mode", "link", "note", "no note", "folder"])
def test_what_others_may_have_changed_is_not_used(tmp_path, guest, made, harm):
    cache = RunnerCache(tmp_path, guest=guest)
    path = cache.make().path
    note = path.with_name(path.name + ".sha256")
    if harm == "byte":
        data = bytearray(path.read_bytes())
        data[3] ^= 1
        path.write_bytes(data)
    elif harm == "mode":
        path.chmod(0o620)
    elif harm == "link":
        path.rename(tmp_path / "moved")
        path.symlink_to(tmp_path / "moved")
    elif harm == "note":
        note.write_text("0" * 64)
    elif harm == "no note":
        note.unlink()
    else:
        path.parent.chmod(0o755)
        with pytest.raises(Dms3Error, match="cannot be used") as caught:
            cache.find()
        assert caught.value.code == "home_unusable"
        return
    assert cache.find() is None
    assert cache.make().path.read_bytes().startswith(b"native ")
    assert cache.find() is not None
    assert made.count("compiled speed") == 2


def test_what_belongs_to_somebody_else_is_not_used(tmp_path, guest, made, monkeypatch):
    cache = RunnerCache(tmp_path, guest=guest)
    cache.make()
    assert made
    monkeypatch.setattr(runner_cache.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Dms3Error, match="cannot be used"):
        cache.find()


def test_two_who_need_it_make_it_once(tmp_path, guest, made, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    build = runner_cache.build

    def slowly(target, guest):
        begun.set()
        assert go_on.wait(30)
        build(target, guest)

    monkeypatch.setattr(runner_cache, "build", slowly)
    found = []
    first = threading.Thread(target=lambda: found.append(RunnerCache(tmp_path, guest=guest).make()))
    first.start()
    assert begun.wait(30)
    waits = threading.Event()

    def said(phase):
        if phase == "waiting":
            waits.set()

    second = threading.Thread(
        target=lambda: found.append(RunnerCache(tmp_path, guest=guest).make(said))
    )
    second.start()
    assert waits.wait(30)
    go_on.set()
    first.join(30)
    second.join(30)
    assert found[0] == found[1]
    assert made == ["built", "compiled speed"]


def test_what_failed_leaves_nothing_and_is_tried_again(tmp_path, guest, made, monkeypatch):
    def fails(_target, _guest):
        raise Dms3Error("runner_missing", "no memory")

    monkeypatch.setattr(runner_cache, "build", fails)
    cache = RunnerCache(tmp_path, guest=guest)
    with pytest.raises(Dms3Error, match="no memory"):
        cache.make()
    assert {path.name for path in (tmp_path / "runner").iterdir()} == {"lock"}
    assert made == []


def test_what_a_killed_maker_left_is_removed(tmp_path, guest, made):
    cache = RunnerCache(tmp_path, guest=guest)
    cache.make().path.unlink()
    (tmp_path / "runner/.new-abc").write_bytes(b"half of it")
    cache.make()
    assert not list((tmp_path / "runner").glob(".new-*"))
    assert made == ["built", "compiled speed", "compiled speed"]


def test_runners_of_older_programs_go(tmp_path, guest, made):
    for version in range(RUNNER_KEPT_MAX + 2):
        (guest / "app.py").write_text(f"x = {version}\n")
        cache = RunnerCache(tmp_path, guest=guest)
        path = cache.make().path
        os.utime(path.parent / f"{cache.recipe[:24]}.wasm", (version, version))
    assert len(list((tmp_path / "runner").glob("*.cwasm"))) == RUNNER_KEPT_MAX
    assert cache.find() is not None
    assert len(made) == 2 * (RUNNER_KEPT_MAX + 2)


def test_a_component_that_cannot_be_compiled_is_said(tmp_path):
    plain = tmp_path / "x.wasm"
    plain.write_bytes(b"no component")
    with pytest.raises(Dms3Error, match="could not be compiled") as caught:
        runner_cache._compiled(plain, "speed")
    assert caught.value.code == "runner_missing"
    assert isinstance(caught.value.__cause__, WasmtimeError)


def test_a_guest_that_cannot_be_built_is_said(tmp_path):
    (tmp_path / "runner.wit").write_text("no world")
    with pytest.raises(Dms3Error) as caught:
        runner_build.build(tmp_path / "out.wasm", tmp_path)
    assert caught.value.code == "runner_missing"


def test_as_a_program_it_says_how_far_it_is(tmp_path, made, monkeypatch, capsys):
    monkeypatch.setenv("DMS3_CACHE", str(tmp_path))
    monkeypatch.setattr(runner_cache.os, "nice", lambda _more: None)  # of this process
    assert runner_cache.main() == 0
    assert capsys.readouterr().out == "building\ncompiling\nready\n"
    assert runner_cache.main() == 0
    assert capsys.readouterr().out == ""
    assert made == ["built", "compiled speed"]


def test_the_folder_can_be_chosen():
    assert str(cache_folder({"DMS3_CACHE": "/elsewhere"})) == "/elsewhere"
    assert cache_folder({}).name == "dms3"


def test_as_a_program_it_says_nothing_when_the_runner_is_there(runner):
    done = subprocess.run(
        [sys.executable, "-m", "dms3.io.runner_cache"], capture_output=True, text=True, check=True
    )
    assert done.stdout == done.stderr == ""
    assert runner.path.exists()
