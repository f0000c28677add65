"""Where the runner lies, made and compiled once per machine and person.

Source: docs/sandbox.md, "The runner". What is compiled is native code: it is used only from a
folder and file that nobody else can write, and only when its hash is the one noted beside it. Two
processes make it once. Run as a program, it makes the runner and says how far it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import platformdirs

from dms3.core.errors import Dms3Error
from dms3.core.limits import RUNNER_BYTES_MAX, RUNNER_KEPT_MAX
from dms3.io.disk import write_error
from dms3.io.runner_build import GUEST, build, recipe
from dms3.io.wasm_engine import OPTIONS, Optimization, engine

VARIABLE = "DMS3_CACHE"
PHASES = ("waiting", "building", "compiling", "ready")
_CPU_INFO = Path("/proc/cpuinfo")
_NAME_CHARS = 24
_NEW = ".new-"
_NICENESS = 5  # a node that serves people goes first

Said = Callable[[str], None]
"""Told each of PHASES as it begins."""


def cache_folder(environment: os._Environ[str] | dict[str, str] = os.environ) -> Path:
    """DMS3_CACHE, or the folder for such files on this system."""
    given = environment.get(VARIABLE)
    return Path(given) if given else Path(platformdirs.user_cache_dir("dms3", appauthor=False))


@dataclass(frozen=True, slots=True)
class Runner:
    """A compiled runner: the file, and the recipe that it was made by."""

    path: Path
    recipe: str
    optimization: Optimization = "speed"


class RunnerCache:
    """The runners of one folder; `guest` and `optimization` are others in tests alone."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        guest: Path = GUEST,
        optimization: Optimization = "speed",
        variant: str = "",
    ) -> None:
        """`variant`: part of the name, for a second runner of the same recipe."""
        self._folder = (folder or cache_folder()) / "runner"
        self._guest = guest
        self._optimization: Optimization = optimization
        self.recipe = recipe(guest)
        self._name = self.recipe[:_NAME_CHARS] + variant

    def find(self) -> Runner | None:
        """The compiled runner when it is there and nobody else can have changed it."""
        try:
            _check_folder(self._folder)
            path = self._folder / f"{self._name}-{self._host()}.cwasm"
            return self._runner(path) if _is_sound(path) else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise write_error(error, "the runner of apps") from error

    def make(self, said: Said = lambda _phase: None) -> Runner:
        """The compiled runner, made when it is not there; about a minute, all cores.

        Raises `runner_missing` when it cannot be made here, `disk_full` and `home_unusable` when it
        cannot be kept.
        """
        found = self.find()
        if found is None:
            try:
                found = self._made(said)
            except OSError as error:
                raise write_error(error, "the runner of apps") from error
        said("ready")
        return found

    def _made(self, said: Said) -> Runner:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_folder(self._folder)
        with _turn(self._folder / "lock", said):
            found = self.find()  # another process made it meanwhile
            if found is not None:
                return found
            for left in self._folder.glob(f"{_NEW}*"):  # by a maker that was killed
                left.unlink(missing_ok=True)
            plain = self._folder / f"{self._name}.wasm"
            if not _is_sound(plain):
                said("building")
                with _replacing(plain) as new:
                    build(new, self._guest)
            said("compiling")
            compiled = self._folder / f"{self._name}-{self._host()}.cwasm"
            with _replacing(compiled) as new:
                new.write_bytes(_compiled(plain, self._optimization))
            self._sweep(plain)
            return self._runner(compiled)

    def _runner(self, path: Path) -> Runner:
        return Runner(path, self.recipe, self._optimization)

    def _host(self) -> str:
        """What the native code is for: this engine, this kind of processor."""
        parts = [platform.system(), platform.machine(), version("wasmtime"), OPTIONS]
        parts.append(self._optimization)
        with contextlib.suppress(OSError):
            lines = _CPU_INFO.read_text().splitlines()
            parts += sorted({line for line in lines if line.startswith(("flags", "Features"))})
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def _sweep(self, made: Path) -> None:
        """Remove what older programs left, but for the youngest."""
        plain = sorted(self._folder.glob("*.wasm"), key=lambda path: path.stat().st_mtime)
        for old in plain[:-RUNNER_KEPT_MAX]:
            if old != made:
                for path in self._folder.glob(f"{old.stem}*"):
                    path.unlink(missing_ok=True)


def _compiled(plain: Path, optimization: Optimization) -> bytes:
    # A node that finds its runner compiled starts a fifth of a second earlier without the engine.
    import wasmtime  # noqa: PLC0415
    from wasmtime.component import Component  # noqa: PLC0415

    try:
        made = Component(engine(optimization), plain.read_bytes())
        return bytes(made.serialize())
    except wasmtime.WasmtimeError as error:
        raise Dms3Error(
            "runner_missing",
            f"The runner of apps could not be compiled: {str(error)[:400]}",
            hint="Remove the folder of the cache and start again.",
        ) from error


@contextlib.contextmanager
def _turn(path: Path, said: Said) -> Iterator[None]:
    """This process' turn to make something; the kernel gives it to the next when it dies."""
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            said("waiting")
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A new file for `path`, put in its place with its hash when all went well."""
    number, name = tempfile.mkstemp(prefix=_NEW, dir=path.parent)  # 0600
    os.close(number)
    new = Path(name)
    try:
        yield new
        new.chmod(0o600)
        note = _note(path)
        beside = new.with_suffix(".note")
        beside.write_text(_hash(new))
        beside.chmod(0o600)
        path.unlink(missing_ok=True)  # a file and a note that do not fit are never seen together
        beside.replace(note)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
        new.with_suffix(".note").unlink(missing_ok=True)


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _check_folder(folder: Path) -> None:
    """Raise OSError unless `folder` is ours alone."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(20, "it is no folder", str(folder))
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(13, "others can use the folder; chmod 700 it", str(folder))


def _is_sound(path: Path) -> bool:
    """Whether the file is ours alone and is what was noted when it was made."""
    for each in (path, _note(path)):
        try:
            found = each.lstat()
        except FileNotFoundError:
            return False
        mode = stat.S_ISREG(found.st_mode) and not found.st_mode & 0o077
        if not mode or found.st_uid != os.geteuid() or found.st_size > RUNNER_BYTES_MAX:
            return False
    return _note(path).read_text() == _hash(path)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> int:
    """Make the runner: a line for each phase on stdout, words for people on stderr.

    Says nothing when it is there. The exit status is 1 when it cannot be made.
    """

    def said(phase: str) -> None:
        sys.stdout.write(f"{phase}\n")
        sys.stdout.flush()
        if sys.stderr.isatty() or phase != "ready":
            sys.stderr.write(f"The runner of apps, made once on this machine: {phase}\n")

    os.nice(_NICENESS)
    cache = RunnerCache()
    try:
        if cache.find() is None:
            cache.make(said)
    except Dms3Error as error:
        sys.stdout.write(f"{error.code} {error}\n")
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
