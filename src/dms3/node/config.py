"""The settings of a node: flag, then DMS3_* environment, then config.toml, then default.

Source: docs/architecture.md, "Configuration". An unknown or wrong value is an error that names its
origin and the nearest right one. Parameters that a network agrees on are not settings.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    CONFIG_BYTES_MAX,
    CONFIG_ITEMS_MAX,
    HELD_BLOCKS_BYTES_MAX,
    HELD_BLOCKS_BYTES_MIN,
    HELD_QUOTA_BYTES_MAX,
    MAIL_ACCOUNT_BYTES,
    MAIL_ENVELOPE_BYTES_MAX,
    MAIL_QUOTA_BYTES_MAX,
    MAIL_TOTAL_BYTES,
    MAIL_TOTAL_BYTES_MAX,
    NAME_CHARS_MAX,
    UPLOAD_BYTES_MAX,
)
from dms3.core.loopback import is_loopback
from dms3.core.units import size_text
from dms3.delivery.properties import DAYS_MIN
from dms3.libp2p.multiaddr import Multiaddr
from dms3.node.table import nearest

ROLES = (
    *("delivery", "relay", "storage", "compute"),
    *("validator", "security", "cloud", "gateway"),
)
OFFERED_ROLES = ("delivery", "gateway")
"""The roles that this version has."""

NOWHERE = "none"
"""Where a node listens that nobody is to dial."""

LOG_LEVELS = ("debug", "info", "warning", "error")
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a node is told at its start; each value was checked.

    `listen`: multiaddr for peers, "none" to be dialled by nobody. `api_listen`: loopback HOST:PORT
    of the private listener.
    `public`: HOST:PORT of the public listener, "" for none. `join`: multiaddrs of nodes to join.
    `network`: path of a network file, "" for the main network. `upload_max`: bytes of one upload.
    `mdns`: whether to find and be found by nodes on the local network. `overlay`: whether to take
    part in the public overlay, that is to answer others and to hold public content for them.
    `overlay_blocks`: bytes of others' blocks that it holds in each overlay.
    `circuits`: whether to pass circuits between nodes that cannot reach each other.
    `ethereum`: URLs of Ethereum nodes that names of ENS are looked up with, the first that answers.
    `delivery_days`: how long a delivery service keeps what nobody fetches, 0: until it is fetched.
    `delivery_size`: bytes of one envelope it takes, `delivery_quota`: of what waits for one person,
    `delivery_total`: of mail and lockers of all together.
    `origin`: setting -> "flag", "environment", "config.toml" or "default".
    """

    home: Path
    name: str = ""
    listen: str = "/ip4/0.0.0.0/tcp/7701"
    api_listen: str = "127.0.0.1:7700"
    public: str = ""
    public_url: str = ""
    join: tuple[str, ...] = ()
    role: tuple[str, ...] = ()
    network: str = ""
    passphrase_file: str = ""
    words_file: str = ""
    open: bool = True
    mdns: bool = True
    overlay: bool = True
    overlay_blocks: int = HELD_BLOCKS_BYTES_MAX
    circuits: bool = True
    upload_max: int = UPLOAD_BYTES_MAX
    ethereum: tuple[str, ...] = ()
    delivery_days: int = 0
    delivery_size: int = MAIL_ENVELOPE_BYTES_MAX
    delivery_quota: int = MAIL_ACCOUNT_BYTES
    delivery_total: int = MAIL_TOTAL_BYTES
    log_level: str = "info"
    origin: Mapping[str, str] = field(default_factory=dict, compare=False)


def load_config(home: Path, flags: Mapping[str, Any], environment: Mapping[str, str]) -> Config:
    """The settings of the node on `home`.

    `flags`: setting -> value as typed, None or () where not given. `environment`: all variables;
    those called DMS3_NAME count. Raises `config_invalid`.
    """
    values: dict[str, Any] = {}
    origin = dict.fromkeys(SETTINGS, "default")
    sources = (
        ("config.toml", read_settings(home / "config.toml")),
        ("environment", _from_environment(environment)),
        ("flag", {key: value for key, value in flags.items() if value not in (None, ())}),
    )
    for source, given in sources:
        for key, value in given.items():
            values[key] = _checked(key, value, source)
            origin[key] = source
    return Config(home=home, origin=origin, **values)


def check_offered(config: Config) -> None:
    """Refuse settings that this version knows by name and cannot do anything for.

    Who asks for a relay and gets a node that relays nothing has been told a lie. Raises
    `config_invalid`.
    """
    later = [role for role in config.role if role not in OFFERED_ROLES]
    if later:
        raise Dms3Error(
            "config_invalid",
            f"role {', '.join(later)!r} (from {config.origin['role']}) is not part of this "
            f"version, which has {', '.join(OFFERED_ROLES)}: leave it out.",
        )
    if config.role and not config.public:
        raise Dms3Error(
            "config_invalid",
            f"role {', '.join(config.role)!r} needs a public listener.",
            hint="Say where it listens: --public HOST:PORT.",
        )
    for key, value, needed in (
        ("public", config.public, config.role),
        ("public_url", config.public_url, config.public),
    ):
        if value and not needed:
            raise Dms3Error(
                "config_invalid",
                f"{key} {value!r} (from {config.origin[key]}) serves nothing.",
                hint="It belongs to a role: --role delivery --public HOST:PORT.",
            )


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in the file `path`, not yet checked; none when there is no file."""
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):  # whoever makes the home says what is wrong
        return {}
    except OSError as cause:
        raise Dms3Error("config_invalid", f"{path} cannot be read: {cause.strerror}.") from cause
    return parse_settings(data)


def parse_settings(data: bytes) -> dict[str, Any]:
    """The settings in the text of a config.toml; raises `config_invalid`."""
    if len(data) > CONFIG_BYTES_MAX:
        raise Dms3Error("config_invalid", f"config.toml is larger than {CONFIG_BYTES_MAX} bytes.")
    try:
        document = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as cause:
        reason = str(cause) if isinstance(cause, tomllib.TOMLDecodeError) else "not readable text"
        raise Dms3Error("config_invalid", f"config.toml is not TOML: {reason}.") from cause
    return {key: _checked(key, value, "config.toml") for key, value in document.items()}


def parse_size(text: str) -> int:
    """Bytes of a size such as "512 MiB", "2GB" or "1000"; raises ValueError."""
    match = re.fullmatch(r"(\d{1,15})\s*([a-zA-Z]{0,3})", text.strip(), re.ASCII)
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError("a size such as 512 MiB or 2 GB")
    return int(match[1]) * _UNITS[match[2].upper()]


def parse_host_port(text: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT" or "[IPV6]:PORT"; port 0 asks for a free one. Or ValueError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not (colon and re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", host, re.ASCII)):
        raise ValueError("HOST:PORT, for example 127.0.0.1:7700")
    if not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) > 65_535:
        raise ValueError("HOST:PORT with a port from 0 to 65535")
    return host, int(port)


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    names = {f"DMS3_{key.upper()}": key for key in SETTINGS}
    return {key: environment[name] for name, key in names.items() if environment.get(name)}


def _checked(key: str, value: Any, source: str) -> Any:
    check = SETTINGS.get(key)
    if check is None:
        near = nearest(key, tuple(SETTINGS))
        raise Dms3Error(
            "config_invalid",
            f"{source} has a setting {key[:64]!r}, which does not exist.",
            hint=f"Did you mean {near}?" if near else f"Settings: {', '.join(SETTINGS)}.",
        )
    try:
        return check(value)
    except (ValueError, DecodeError) as wrong:
        given = wrong.item if isinstance(wrong, _WrongItemError) else value
        raise Dms3Error(
            "config_invalid",
            f"{_named(key, source)} is {str(given)[:80]!r}; it must be {wrong}.",
            hint="dms3 up --help explains every setting.",
        ) from wrong


def _named(key: str, source: str) -> str:
    """A setting as whoever gave it wrote it."""
    return f"--{key.replace('_', '-')}" if source == "flag" else f"{key} from {source}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or any(ord(char) < 32 for char in value):
        raise ValueError("text of one line")
    return value


def _name(value: Any) -> str:
    text = _text(value).strip()
    if len(text) > NAME_CHARS_MAX:
        raise ValueError(f"at most {NAME_CHARS_MAX} characters long")
    return text


def _multiaddr(value: Any) -> str:
    try:
        return str(Multiaddr.parse(_text(value)))
    except DecodeError as wrong:
        example = "/ip4/0.0.0.0/tcp/7701"
        raise ValueError(f"a multiaddr such as {example} ({wrong.reason})") from wrong


def _listen(value: Any) -> str:
    return NOWHERE if value == NOWHERE else _multiaddr(value)


def _host_port(value: Any) -> str:
    text = _text(value)
    if text:
        parse_host_port(text)
    return text


def _loopback(value: Any) -> str:
    text = _text(value)
    if not is_loopback(parse_host_port(text)[0]):
        raise ValueError("a loopback address such as 127.0.0.1:7700; for others there is --public")
    return text


def _url(value: Any) -> str:
    text = _text(value)
    if text and not re.fullmatch(r"https?://[A-Za-z0-9._\[\]:-]{1,253}(/[!-~]*)?", text, re.ASCII):
        raise ValueError("a URL such as https://node.example.org")
    return text


def _size(most: int, least: int = 1) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        size = value if type(value) is int else parse_size(_text(value))
        if not least <= size <= most:
            first = "1 byte" if least == 1 else size_text(least)
            raise ValueError(f"a size from {first} to {size_text(most)}")
        return size

    return check


def _days(value: Any) -> int:
    text = str(value) if type(value) is int else _text(value)
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or 0 < int(text) < DAYS_MIN:
        raise ValueError(f"0 (until it is fetched) or at least {DAYS_MIN} days")
    return int(text)


def _truth(value: Any) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if type(value) is bool:
        return value
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise ValueError("true or false")


def _choice(*known: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if _text(value) in known:
            return str(value)
        near = nearest(value, known)
        which = f"{near} (probably) or another" if near else "one"
        raise ValueError(f"{which} of {', '.join(known)}")

    return check


def _many(check: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    def check_all(value: Any) -> tuple[str, ...]:
        items = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or len(items) > CONFIG_ITEMS_MAX:
            raise ValueError(f"a list of at most {CONFIG_ITEMS_MAX} values")
        return tuple(dict.fromkeys(check_one(item) for item in items if item != ""))

    def check_one(item: Any) -> str:
        try:
            return check(item)
        except (ValueError, DecodeError) as wrong:
            raise _WrongItemError(item, str(wrong)) from wrong

    return check_all


class _WrongItemError(ValueError):
    """One `item` of a list is wrong: people are shown that one, not the whole list."""

    def __init__(self, item: Any, wanted: str) -> None:
        super().__init__(wanted)
        self.item = item


SETTINGS: Mapping[str, Callable[[Any], Any]] = {
    "name": _name,
    "listen": _listen,
    "api_listen": _loopback,
    "public": _host_port,
    "public_url": _url,
    "join": _many(_multiaddr),
    "role": _many(_choice(*ROLES)),
    "network": _text,
    "passphrase_file": _text,
    "words_file": _text,
    "open": _truth,
    "mdns": _truth,
    "overlay": _truth,
    "overlay_blocks": _size(HELD_QUOTA_BYTES_MAX, HELD_BLOCKS_BYTES_MIN),
    "circuits": _truth,
    "upload_max": _size(UPLOAD_BYTES_MAX),
    "ethereum": _many(_url),
    "delivery_days": _days,
    "delivery_size": _size(MAIL_ENVELOPE_BYTES_MAX),
    "delivery_quota": _size(MAIL_QUOTA_BYTES_MAX),
    "delivery_total": _size(MAIL_TOTAL_BYTES_MAX),
    "log_level": _choice(*LOG_LEVELS),
}
assert set(SETTINGS) == {
    setting.name for setting in dataclasses.fields(Config) if setting.name not in ("home", "origin")
}, "SETTINGS and Config name the same settings"
