"""`dms3 store restore` where no node runs: a new home is made from a backup and twelve words.

Source: docs/interfaces.md, `store restore`. Through a running node it is the command of the table;
this is for a folder that is not there yet, as `dms3 up --words-file` makes one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dms3.cli.generated import callback_of, folder_url
from dms3.cli.output import Output
from dms3.cli.shared import Shared
from dms3.cli.views import VIEWS
from dms3.core.errors import Dms3Error
from dms3.node.table import Command

if TYPE_CHECKING:
    from dms3.node.restoring import Restoration

# ruff: noqa: PLC0415 - help must not wait for a node's libraries

NAME = "store restore"
_LOOK_SECONDS = 0.25


def callback_for(command: Command, shared: Shared) -> Callable[..., None]:
    """As `callback_of`; with words, and where no node runs, it makes the home itself."""
    ask = callback_of(command, shared)

    def callback(**typed: Any) -> None:
        from dms3.sdk.where import default_home

        home = shared.home or default_home().expanduser().absolute()
        if typed.get("words") is None or shared.api or (home / "node.json").exists():
            ask(**typed)
        else:
            restore(home, typed, Output(as_json=shared.json, view=VIEWS.get(command.name)))

    callback.__signature__ = ask.__signature__  # type: ignore[attr-defined]  # read by typer
    callback.__annotations__ = ask.__annotations__
    callback.__name__ = ask.__name__
    callback.__doc__ = ask.__doc__
    return callback


def restore(path: Path, typed: Mapping[str, Any], out: Output) -> None:
    """Make the home `path` from the backup; raises Dms3Error, and goes on when it is run again."""
    from dms3.cli.up import read_secret
    from dms3.node.backups import new_home, restored

    words = read_secret(typed["words"], "words")
    with new_home(path, folder_url(typed["url"]), words, typed.get("generation")) as run:
        _watch(run, out)
    out.result(restored(run))


def _watch(run: Restoration, out: Output) -> None:
    """Run it in a thread and show how far it is; Ctrl-C stops it, and a later run goes on."""
    failure: list[Dms3Error] = []

    def work() -> None:
        try:
            run.run()
        except Dms3Error as error:
            failure.append(error)

    thread = threading.Thread(target=work, name="restore")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_LOOK_SECONDS)
            out.progress({"done": run.done_bytes, "total": run.total_bytes, "unit": "bytes"})
    finally:
        run.stopped = True
        thread.join()
        out.end_progress()
    if failure:
        raise failure[0]
