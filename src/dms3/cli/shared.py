"""Options that every command takes, before or after the verb: --home, --api, --json, --version.

Source: docs/interfaces.md, "Command line". They are taken out of the words before the command's own
options are looked at, so that one rule holds everywhere; what follows `--` is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dms3.core.errors import Dms3Error

HELP = """\
Everywhere: --home DIR (DMS3_HOME) folder of all state; --json (DMS3_JSON=1) one
object {"v":1,"data":...} on stdout; --api URL (DMS3_API) which node to talk to;
--version. Exit status: 0 ok, 1 failed, 2 usage, 3 no node, 4 rejected, 5 timed out.
"""
_TRUE = ("1", "true", "yes")


@dataclass(frozen=True, slots=True)
class Shared:
    """The values of the shared options; None where the default holds."""

    home: Path | None = None
    api: str | None = None
    json: bool = False
    version: bool = False


def take_shared(words: Sequence[str], environment: Mapping[str, str]) -> tuple[Shared, list[str]]:
    """The shared options in `words`, and the other words; raises `argument_invalid`."""
    found: dict[str, str] = {}
    rest: list[str] = []
    json = environment.get("DMS3_JSON", "").lower() in _TRUE
    version = False
    waiting = iter(words)
    for word in waiting:
        name, equals, value = word.partition("=")
        if word == "--":
            rest += [word, *waiting]
        elif word == "--json":
            json = True
        elif word == "--version":
            version = True
        elif name in ("--home", "--api"):
            given = value if equals else next(waiting, "")
            if not given:
                raise Dms3Error("argument_invalid", f"{name} needs a value.")
            found[name] = given
        else:
            rest.append(word)
    home = found.get("--home") or environment.get("DMS3_HOME")
    api = found.get("--api") or environment.get("DMS3_API")
    folder = Path(home).expanduser().absolute() if home else None
    return Shared(folder, api or None, json, version), rest


def wants_json(words: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether errors have to be JSON; for words that could not be understood."""
    own = words[: words.index("--")] if "--" in words else words
    return "--json" in own or environment.get("DMS3_JSON", "").lower() in _TRUE
