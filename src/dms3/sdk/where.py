"""Where the node is: the home folder, the address of its API, the token a program presents.

Source: docs/architecture.md, "Configuration". Reads two small files of the home and writes none.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from dms3.core.errors import Dms3Error
from dms3.core.loopback import is_loopback

API_DEFAULT = "127.0.0.1:7700"


@dataclass(frozen=True, slots=True)
class Where:
    """How to reach a node: base `url`, `token` ("" when there is none), `home` of that token.

    `local`: node and caller share machine and home, so paths of this machine mean the same to both.
    """

    url: str
    token: str = field(repr=False)
    home: Path
    local: bool


def default_home() -> Path:
    """The folder for all state where none is named: DMS3_HOME or the platform's place."""
    given = os.environ.get("DMS3_HOME")
    return Path(given) if given else Path(platformdirs.user_data_dir("dms3", appauthor=False))


def find_node(home: Path | None = None, api: str | None = None) -> Where:
    """The node to talk to: `api` if given, else DMS3_API, else the one that runs on `home`.

    The token comes from DMS3_TOKEN, or for this machine from the home: that one is worth the node
    of the home and goes nowhere else. Raises `argument_invalid` for an address that is not one, or
    is another machine's without TLS, `home_unusable` for a token that may not be read.
    """
    folder = (home or default_home()).expanduser().absolute()
    given = api or os.environ.get("DMS3_API") or _announced(folder) or API_DEFAULT
    url = api_url(given)
    near = is_loopback(urlsplit(url).hostname or "")
    if not near and not url.startswith("https:"):
        raise Dms3Error(
            "argument_invalid",
            f"{url} is another machine: token and documents would travel there in the open.",
            hint="Use an https:// address, or a tunnel to the loopback address over there.",
        )
    own = os.environ.get("DMS3_TOKEN", "")
    token = own or (_read(folder / "api.token") if near else "")
    return Where(url, token, folder, local=near and bool(token) and not own)


def api_url(given: str) -> str:
    """`given` (a URL, or HOST:PORT) as a URL without a path; raises `argument_invalid`."""
    text = given if "://" in given else f"http://{given}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise Dms3Error(
            "argument_invalid",
            f"{given!r} is not the address of an API.",
            hint=f"Write it as {API_DEFAULT} or http://{API_DEFAULT}.",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def _announced(home: Path) -> str:
    """The address that a running node wrote into its home, or ""."""
    try:
        document = json.loads(_read(home / "node.json") or "{}")
    except ValueError:
        return ""
    found = document.get("api") if isinstance(document, dict) else None
    return found if isinstance(found, str) else ""


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as cause:
        raise Dms3Error(
            "home_unusable",
            f"{path} cannot be read: {getattr(cause, 'strerror', 'not text')}.",
            hint="Use the home folder of your own user, or name one with --home.",
        ) from cause
