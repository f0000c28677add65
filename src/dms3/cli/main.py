"""The `dms3` command: groups and verbs from the table, errors and exit statuses in one place.

Source: docs/interfaces.md, "Command line". Importing it costs little more than importing typer.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from dms3 import __version__
from dms3.cli import making, restoring
from dms3.cli.generated import callback_of
from dms3.cli.local import Local
from dms3.cli.output import Output
from dms3.cli.shared import HELP, Shared, take_shared, wants_json
from dms3.core.errors import EXIT_STATUS, Dms3Error, Exit
from dms3.node.commands import TABLE
from dms3.node.table import Command

INTERRUPTED = 130  # shells report 128 + SIGINT
ABOUT = "A node you run yourself: it keeps your documents, finds things in them, and shares them."
NOUNS = {
    "id": "Who this node is",
    "contact": "People you know",
    "peer": "Nodes of others",
    "store": "Documents: import, list, open, share",
    "message": "Messages: write, read, and who carries them",
    "name": "Names: whose one is, and those of your own",
    "delivery": "This node as a delivery service",
    "dapp": "Apps: make, install, call, publish",
    "entry": "What apps wrote",
    "chain": "What you wrote in apps, and what this node holds of them",
    "warrant": "Who broke the rules of an app, and your own word on it",
    "network": "Networks of your own: make, invite, join; overlays of this node",
    "sim": "Simulated networks",
    "config": "Settings",
}
SHORT = f"""{ABOUT}

  dms3 up                      run a node; prints the link to its page
  dms3 store add ~/Documents   import a folder, then: dms3 search WORDS

dms3 --help lists all commands.
"""


def main() -> None:
    """The entry point: run the command line and exit with its status."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run the command in `words` and return its exit status."""
    out = Output(as_json=wants_json(words, os.environ))
    try:
        status = _dispatch(words, out)
    except (Dms3Error, typer.TyperException) as error:
        return _refused(error, words, out)
    except typer.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left, as `| head` does; nothing is to be said about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    if status == INTERRUPTED:
        out.end_progress()
        out.note("Stopped.")
    return status


def _dispatch(words: Sequence[str], out: Output) -> int:
    shared, rest = take_shared(words, os.environ)
    if shared.version:
        out.result({"version": __version__})
        return 0
    if not rest:
        print(SHORT, end="")
        return 0
    status = _application(shared, rest[0])(args=rest, prog_name="dms3", standalone_mode=False)
    return status if isinstance(status, int) else 0


def _refused(error: Dms3Error | typer.TyperException, words: Sequence[str], out: Output) -> int:
    """Show an error and return the exit status of its kind."""
    if isinstance(error, Dms3Error):
        out.error(error)
        return error.exit_status
    message = error.format_message().replace(": Value error, ", ": ")  # of the checker of choices
    out.error(Dms3Error("argument_invalid", message, hint=_hint(words, message)))
    return EXIT_STATUS[Exit.USAGE]


def _application(shared: Shared, first: str) -> typer.Typer:
    """The typer application; of the nouns only the one asked for, `first`, gets its verbs.

    typer looks closely at every command it is given, and only one of them will run.
    """
    options: dict[str, Any] = {
        "rich_markup_mode": None,
        "add_completion": False,
        "pretty_exceptions_enable": False,  # a log has lines, and a node's is read by programs
    }
    context = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    app = typer.Typer(help=ABOUT, epilog=HELP, context_settings=context, **options)
    groups: dict[str, typer.Typer] = {}
    local = Local(shared)
    rows: list[tuple[str, str, Callable[..., None] | Command]] = [
        (command.noun, command.verb, command) for command in TABLE
    ]
    rows += [
        ("up", "", local.up),
        ("open", "", local.open),
        ("dev", "", local.dev),
        ("demo", "", local.demo),
        ("sim", "run", local.sim_run),
        ("config", "show", local.config_show),
        ("dapp", "new", local.dapp_new),
    ]
    for noun, verb, row in rows:
        if verb and noun not in groups:
            groups[noun] = typer.Typer(help=NOUNS.get(noun, noun), epilog=HELP, **options)
            app.add_typer(groups[noun], name=noun)
        if not verb or noun == first:
            function = _callback_of(row, shared) if isinstance(row, Command) else row
            place = groups[noun] if verb else app
            text = inspect.getdoc(function) or ""
            summary = text.partition("\n\n")[0].replace("\n", " ")  # whole, not cut to a line
            place.command(verb or noun, help=text, short_help=summary)(function)
    return app


def _callback_of(command: Command, shared: Shared) -> Callable[..., None]:
    if command.name == restoring.NAME:
        return restoring.callback_for(command, shared)
    if command.name in making.SENDS_FOLDER:
        return making.callback_for(command, shared)
    return callback_of(command, shared)


def _hint(words: Sequence[str], message: str) -> str:
    if "Did you mean" in message:
        return ""
    path = [word for word in words[:2] if word.isalpha()]
    return f"See: dms3 {' '.join([*path, '--help'])}"


if __name__ == "__main__":
    main()
