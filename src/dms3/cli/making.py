"""Apps on the command line: `dms3 dapp new` needs no node, `dapp install` sends a folder to one.

Source: docs/dapps.md. A new app begins as the guestbook that comes with dms3, under its own name,
so what a person starts from is what the tests run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dms3.cli.generated import callback_of
from dms3.cli.generated import run as run_command
from dms3.cli.output import Output
from dms3.cli.shared import Shared
from dms3.cli.views_dapp import DAPP_VIEWS
from dms3.core.errors import Dms3Error
from dms3.node.table import Command

if TYPE_CHECKING:
    from dms3.sdk import SyncClient

# ruff: noqa: PLC0415 - help must not wait for a node's libraries

SENDS_FOLDER = ("dapp install", "dapp migrate")
TEMPLATE = "guestbook"


def new(name: str, folder: Path, shared: Shared) -> None:
    """Write the folder of a new app `name` into `folder`; raises `already_exists`."""
    from dms3.node.dapps_folder import SHIPPED, belongs
    from dms3.node.dapps_parts import check_name

    check_name(name)
    target = folder / name
    if target.exists():
        raise Dms3Error(
            "already_exists", f"{target} is there already.", hint="Choose another name or folder."
        )
    written = []
    for path in sorted((SHIPPED / TEMPLATE).rglob("*")):
        inside = path.relative_to(SHIPPED / TEMPLATE).as_posix()
        if path.is_file() and belongs(inside):
            place = target / _renamed(inside, name.replace("-", "_"))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(_renamed(path.read_text(encoding="utf-8"), name), encoding="utf-8")
            written.append(place.relative_to(target).as_posix())
    data = {"name": name, "folder": str(target), "files": written}
    Output(as_json=shared.json, view=DAPP_VIEWS["dapp new"]).result(data)


def _renamed(text: str, name: str) -> str:
    title = name.replace("-", " ").replace("_", " ").capitalize()
    return text.replace(TEMPLATE, name).replace(TEMPLATE.capitalize(), title)


def callback_for(command: Command, shared: Shared) -> Callable[..., None]:
    """As `callback_of`; a word that is a folder here is sent as the files in it."""
    ask = callback_of(command, shared)

    def callback(**typed: Any) -> None:
        folder = Path(typed.get("what") or "").expanduser()
        if typed.get("what") and not typed.get("files") and folder.is_dir():
            typed = {**typed, "what": "", "files": _sent(folder.absolute(), shared)}
        run_command(command, shared, typed)

    callback.__signature__ = ask.__signature__  # type: ignore[attr-defined]  # read by typer
    callback.__annotations__ = ask.__annotations__
    callback.__name__ = ask.__name__
    callback.__doc__ = ask.__doc__
    return callback


def _sent(folder: Path, shared: Shared) -> list[str]:
    """What the node is told of `folder`: its path, or ids of uploads where it cannot read it."""
    from dms3.sdk import SyncClient

    with SyncClient(shared.home, shared.api) as client:
        return [str(folder)] if client.where.local else _uploaded(client, folder)


def _uploaded(client: SyncClient, folder: Path) -> list[str]:
    from dms3.node.dapps_folder import read_folder

    sent = []
    for path in read_folder(folder):
        name = str(client.upload(folder / path)["id"]).partition("/")[0]
        sent.append(f"{name}/{folder.name}/{path}")
    return sent
