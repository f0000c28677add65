"""Commands of the command line made from the table: one function per row, for typer to read.

Source: docs/architecture.md, "Commands". What is typed becomes the JSON parameters of the HTTP
route; secrets come from a file or a prompt, files are named or sent up.
"""

from __future__ import annotations

import getpass
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dms3.cli.output import Output
from dms3.cli.shared import Shared
from dms3.cli.views import VIEWS
from dms3.core.errors import Dms3Error
from dms3.core.limits import PASSPHRASE_BYTES_MAX, UPLOADS_MAX
from dms3.node.table import BlobOrPath, Command, FolderUrl, InputPath, Json, Parameter, Secret

if TYPE_CHECKING:
    from dms3.sdk import SyncClient

OUTPUT = "_output"  # keyword of `-o FILE`


def callback_of(command: Command, shared: Shared) -> Callable[..., None]:
    """A function with the signature that typer needs for `command`."""

    def callback(**typed: Any) -> None:
        run(command, shared, typed)

    parameters = [_typer_parameter(parameter) for parameter in command.parameters]
    if command.download:
        parameters.append(_output_parameter())
    parameters.sort(key=lambda p: p.default is not inspect.Parameter.empty)
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect
    callback.__annotations__ = {p.name: p.annotation for p in parameters}
    callback.__name__ = command.name.replace(" ", "_")
    callback.__doc__ = help_of(command)
    return callback


def help_of(command: Command) -> str:
    """The help text of `command`, with an example."""
    more = f"\n\n{command.description}" if command.description else ""
    return f"{command.summary}.{more}\n\nExample: {command.example}"


def run(command: Command, shared: Shared, typed: Mapping[str, Any]) -> None:
    """Send `command` to the node and show what it answers; raises Dms3Error."""
    # httpx brings a command line of its own along, which costs 0.3 s at each of our commands; it is
    # optional there and left out like this when its parts are not installed.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # means: not importable
    from dms3.sdk import SyncClient  # noqa: PLC0415 - 100 ms that help does not need

    out = Output(as_json=shared.json, view=VIEWS.get(command.name))
    target = typed.get(OUTPUT)
    if command.download and shared.json and not target:
        raise Dms3Error("argument_invalid", "With --json the content needs a file: -o FILE.")
    with SyncClient(shared.home, shared.api) as client:
        arguments = _arguments(command, client, typed, out)
        data: Mapping[str, Any] = {}
        try:
            with closing(client.stream(command.noun, command.verb, **arguments)) as lines:
                for line in lines:
                    if "progress" in line:
                        out.progress(line["progress"])
                    elif "item" in line:
                        out.result(line["item"])
                    else:
                        data = line["data"]
        finally:
            out.end_progress()
        if command.download:
            _download(client, data, target, out)
        else:
            out.result(data)
    if command.noun == "doctor" and data.get("ok") is False:
        raise typer.Exit(1)


def _arguments(
    command: Command, client: SyncClient, typed: Mapping[str, Any], out: Output
) -> dict[str, Any]:
    """The JSON parameters: what was typed, without what was left at its default."""
    arguments: dict[str, Any] = {}
    for parameter in command.parameters:
        value = typed.get(parameter.argument)
        if parameter.type is Secret:
            secret = _secret(parameter, value)
            if secret is not None:
                arguments[parameter.name] = secret
        elif value is None or value in ((), []):
            continue
        elif parameter.type is BlobOrPath:
            if not client.where.local:
                client.call("status")  # is anybody there to take files? Before they are looked at
            given = value if parameter.many else [value]
            sent = [name for item in given for name in _blob_or_path(client, item, out)]
            arguments[parameter.name] = sent if parameter.many else sent[0]
        elif parameter.type is InputPath:
            arguments[parameter.name] = str(Path(value).expanduser().absolute())
        elif parameter.type is FolderUrl:
            arguments[parameter.name] = folder_url(value)
        elif parameter.type is Json:
            arguments[parameter.name] = json_of(value)
        else:
            arguments[parameter.name] = list(value) if parameter.many else value
    return arguments


def json_of(given: str) -> Any:
    """The JSON value in the text `given`; raises `argument_invalid`."""
    try:
        return json.loads(given)
    except (ValueError, RecursionError) as cause:
        raise Dms3Error(
            "argument_invalid",
            f"{given[:40]!r} is not JSON: {cause}.",
            hint='Put it into single quotes: \'{"text": "hello"}\'',
        ) from cause


def folder_url(given: str) -> str:
    """A folder as the node is told of it: its absolute path, a URL as it is."""
    return given if "://" in given else str(Path(given).expanduser().absolute())


def _blob_or_path(client: SyncClient, given: str, out: Output) -> list[str]:
    """What the node is told of a local file or folder: its path, or the ids of uploads."""
    if BlobOrPath(given).blob is not None:
        return [given]
    path = Path(given).expanduser().absolute()
    if client.where.local:
        return [str(path)]
    files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
    if len(files) > UPLOADS_MAX:
        raise Dms3Error(
            "argument_invalid",
            f"{path} holds {len(files)} files; at most {UPLOADS_MAX} are sent to another machine.",
            hint="Run the command on the node's own machine, or send a part of the folder.",
        )
    sent = []
    for number, file in enumerate(files, 1):
        sent.append(str(client.upload(file)["id"]))
        out.progress({"done": number, "total": len(files), "unit": "files", "text": "Sending"})
    return sent


def _secret(parameter: Parameter, source: str | None) -> str | None:
    """The secret from the file `source`, or typed unseen ("-", or when it is required)."""
    if source is None and not parameter.required:
        return None
    if source in (None, "-") and sys.stdin.isatty():
        return getpass.getpass(f"{parameter.name.replace('_', ' ').capitalize()}: ")
    if source in (None, "-"):
        return sys.stdin.readline(PASSPHRASE_BYTES_MAX + 1).rstrip("\r\n")
    try:
        with Path(str(source)).open("rb") as file:
            data = file.read(PASSPHRASE_BYTES_MAX + 2)
        return data.decode().split("\n", 1)[0].rstrip("\r")
    except (OSError, ValueError) as cause:
        raise Dms3Error(
            "argument_invalid",
            f"The {parameter.name} cannot be read from {source}.",
            hint="Give a text file whose first line it is, or - to type it unseen.",
        ) from cause


def _download(client: SyncClient, data: Mapping[str, Any], target: str | None, out: Output) -> None:
    """The content of data["cid"] or data["blob"] into the file `target`, or to stdout."""
    pieces = client.pieces(str(data.get("blob") or data["cid"]))
    if target is None or target == "-":
        with closing(pieces):
            for piece in pieces:
                sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    path = Path(target)
    draft = path.with_name(path.name + ".part")
    size = 0
    try:
        with closing(pieces), draft.open("wb") as file:
            for piece in pieces:
                size += file.write(piece)
                out.progress({"done": size, "total": data.get("size"), "unit": "bytes"})
        draft.replace(path)
    except OSError as cause:
        raise Dms3Error(
            "argument_invalid", f"{target} cannot be written: {cause.strerror}."
        ) from cause
    finally:
        draft.unlink(missing_ok=True)
    out.result({**data, "file": str(path)})


def _typer_parameter(parameter: Parameter) -> inspect.Parameter:
    note: Any
    kind = _python_type(parameter)
    if parameter.positional:
        note = typer.Argument(help=parameter.about.help, metavar=parameter.metavar)
        default = inspect.Parameter.empty if parameter.required else _default(parameter)
        if default is None:
            kind = kind | None
    else:
        secret = parameter.type is Secret
        flag = parameter.about.flag or "--" + parameter.name.replace("_", "-")
        required = parameter.required and not secret
        default = inspect.Parameter.empty if required else _default(parameter)
        note = typer.Option(
            flag + "-file" if secret else flag,
            help=parameter.about.help,
            metavar="FILE" if secret else _metavar(parameter),
            show_default=default not in (None, ()) and not isinstance(default, bool),
        )
        if default is None or secret:
            kind = kind | None
    return inspect.Parameter(
        parameter.argument,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, note],
    )


def _python_type(parameter: Parameter) -> Any:
    if parameter.choices:
        one: Any = Literal[parameter.choices]
    else:
        one = parameter.type if parameter.type in (int, bool) else str
    return list[one] if parameter.many else one


def _metavar(parameter: Parameter) -> str | None:
    """The word for an option's value; None for a switch and for choices, which typer shows."""
    return None if parameter.choices or parameter.type is bool else parameter.metavar


def _default(parameter: Parameter) -> Any:
    if parameter.type is Secret:
        return None
    return list(parameter.default) if parameter.many else parameter.default


def _output_parameter() -> inspect.Parameter:
    note = typer.Option("-o", "--output", metavar="FILE", help="write the content to this file")
    return inspect.Parameter(
        OUTPUT,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, note],
    )
