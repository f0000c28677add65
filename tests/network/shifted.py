"""dms3 with a wall clock that tests move: shifted.py FILE up ...; FILE holds microseconds."""

import mmap
import struct
import sys
from pathlib import Path

from dms3.cli.main import main
from dms3.core.machine import Now
from dms3.io.clock import SystemClock

PLACE = struct.Struct("<q")


def shift(path: Path, us: int) -> None:
    """Move the wall clocks of all programs that run with `path`."""
    if not path.exists():
        path.write_bytes(bytes(PLACE.size))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), PLACE.size) as place:
        PLACE.pack_into(place, 0, us)


def run(path: Path) -> None:
    """The program, its clock read together with the file."""
    plain = SystemClock.now
    with path.open("rb") as file, mmap.mmap(file.fileno(), PLACE.size, prot=mmap.PROT_READ) as at:

        def now(self: SystemClock) -> Now:
            found = plain(self)
            return Now(found.mono_us, found.wall_us + int(PLACE.unpack_from(at, 0)[0]))

        SystemClock.now = now  # type: ignore[method-assign]
        main()


if __name__ == "__main__":
    sys.argv[:2] = ["dms3"]
    run(Path(sys.orig_argv[-len(sys.argv)]))
