"""What every adapter that writes files needs to know of the disk: space, durable names, failures.

Source: docs/architecture.md, "The driver" (a full disk is noticed before work is accepted). A tool
of the adapters, not one of them: it opens no file of theirs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path

from dms3.core.errors import Dms3Error

_NO_SPACE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def check_space(folder: Path, reserve: int, wanted: int = 0) -> None:
    """Raise `disk_full` unless `wanted` bytes fit into `folder` and leave `reserve` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < reserve + wanted:
        raise Dms3Error(
            "disk_full",
            f"{free >> 20} MiB are free where the home lies, {(reserve + wanted) >> 20} MiB are "
            "needed.",
            hint="Free some space; nothing that was confirmed is lost.",
        )


def write_error(cause: OSError, what: str) -> Dms3Error:
    """The error people see when `what` (a pack, an upload) could not be written or read."""
    if cause.errno in _NO_SPACE:
        return Dms3Error(
            "disk_full",
            f"No space is left for {what}.",
            hint="Free some space; nothing that was confirmed is lost.",
        )
    return Dms3Error(
        "home_unusable",
        f"The file of {what} cannot be used: {cause.strerror}.",
        hint="Check the disk and the permissions of the home folder.",
    )


def flush_folder(folder: Path) -> None:
    """Make the names in `folder` durable; raises OSError."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def hold_folder(folder: Path) -> int:
    """A descriptor that keeps every other holder out of `folder` until it is closed.

    The kernel lets go of it when the process dies. Raises `home_in_use` when another holds it:
    two who both remove "what nobody needs" would remove each other's work.
    """
    number = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as cause:
        os.close(number)
        raise Dms3Error(
            "home_in_use",
            f"Another program uses the folder {folder.name} of this home.",
            hint="Stop the other node first.",
        ) from cause
    return number
