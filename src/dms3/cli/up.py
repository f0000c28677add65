"""One node in the foreground: what `dms3 up` runs until Ctrl-C.

Source: docs/interfaces.md, `dms3 up`; docs/architecture.md. Takes the home's lock, opens the store
unless it is protected, serves the API, says where, and stops in order.
"""

from __future__ import annotations

import asyncio
import gc
import getpass
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dms3.api.http import Report, build_front
from dms3.api.serve import serve
from dms3.api.sessions import Sessions
from dms3.cli.public import delivery_of, public_listener
from dms3.core.errors import DecodeError, Dms3Error, first_error
from dms3.core.limits import (
    GARBAGE_LOOK_OBJECTS,
    PASSPHRASE_BYTES_MAX,
    SECOND_US,
    THREAD_TURN_US_MAX,
)
from dms3.core.network import MAIN, NETWORK_FILE_BYTES_MAX, NetworkParameters, decode_network
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.libp2p.peer_id import peer_id_text
from dms3.node.commands import TABLE
from dms3.node.config import NOWHERE, Config, check_offered, parse_host_port
from dms3.node.home import Home
from dms3.node.host import Host
from dms3.node.logs import node_logger
from dms3.node.settings import Settings

if sys.platform != "win32":
    import uvloop

Ready = Callable[[Mapping[str, Any]], None]
"""Told once when the node answers: url, api, public, peer_id, address, home, roles, locked."""


def run(config: Config, ready: Ready) -> None:
    """As `up`, from a program without an event loop."""
    sys.setswitchinterval(THREAD_TURN_US_MAX / SECOND_US)
    if sys.platform == "win32":  # uvloop is not made for it
        asyncio.run(up(config, ready))
    else:
        uvloop.run(up(config, ready))


async def up(config: Config, ready: Ready) -> None:
    """Run the node of `config` until SIGINT or SIGTERM; raises the Dms3Error that ends it."""
    check_offered(config)
    home = Home(config.home)
    home.create()
    with home.locked():
        home.token()  # one that cannot be had is said before the home is opened and written to
        clock = SystemClock()
        log = node_logger(sys.stderr, level=config.log_level, wall_us=lambda: clock.now().wall_us)

        def report(path: str, error: BaseException) -> None:
            log.error("request_failed", path=path, exc_info=error)

        settings = Settings(
            config.name or default_name(),
            () if config.listen == NOWHERE else (config.listen,),
            config.join,
            _network(config.network),
            config.upload_max,
            read_secret(config.words_file, "words"),
            name_chosen=bool(config.name),
            mdns=config.mdns,
            overlay=config.overlay,
            overlay_blocks=config.overlay_blocks,
            circuits=config.circuits,
            ethereum=config.ethereum,
            delivery=delivery_of(config),
        )
        try:
            async with asyncio.TaskGroup() as group:
                host = Host(home, settings, config.role, log)
                loop = asyncio.get_running_loop()
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.add_signal_handler(number, host.stop)
                running = group.create_task(host.run())
                try:
                    async with public_listener(host, config, report) as public:
                        await _open(host, config)
                        await _serve(host, config, running, _with(ready, public), report)
                finally:
                    host.stop()
        except* Dms3Error as failures:
            raise first_error(failures) from None


def _with(ready: Ready, public: str | None) -> Ready:
    """`ready`, told the real address of the public listener."""
    return lambda data: ready({**data, "public": public})


async def _serve(
    host: Host, config: Config, running: asyncio.Task[None], ready: Ready, report: Report
) -> None:
    """The API and the page, for as long as the node runs."""
    front = build_front(
        host,
        TABLE,
        token=host.home.token(),
        sessions=Sessions(SystemEntropy(), SystemClock()),
        report=report,
    )
    name, port = parse_host_port(config.api_listen)
    async with serve(front.app, name, port) as listening:
        host.answers(listening.port)
        api = listening.url.removeprefix("http://")
        where = {"api": api, "url": listening.url + front.login_path()}
        with host.home.announced({"api": api}):
            ready(where | await _what(host, config))
            gc.set_threshold(GARBAGE_LOOK_OBJECTS)
            gc.freeze()  # the program itself is not looked through again and again: 0.1 s each time
            await asyncio.wait([running])


async def _what(host: Host, config: Config) -> dict[str, Any]:
    """What the first line says beside the addresses."""
    data: dict[str, Any] = {
        "home": str(config.home),
        "roles": list(config.role),
        "locked": host.node is None,
        "peer_id": None,
        "address": None,
    }
    if host.node is not None:
        data["peer_id"] = peer_id_text(host.node.identity.peer)
        data["address"] = next(iter(host.node.addresses), None)
    return data


async def _open(host: Host, config: Config) -> None:
    """Open the home; a protected one without a passphrase stays locked until it is unlocked."""
    if not host.protected:
        await host.open()
    elif config.passphrase_file:
        await host.unlock(read_secret(config.passphrase_file, "passphrase"))


def read_secret(path: str, what: str) -> str:
    """The first line of the file `path`, "" for no path; raises `argument_invalid`."""
    if not path:
        return ""
    try:
        with Path(path).open("rb") as file:
            data = file.read(PASSPHRASE_BYTES_MAX + 2)
        return data.decode().split("\n", 1)[0].rstrip("\r")
    except (OSError, ValueError) as cause:
        raise Dms3Error(
            "argument_invalid",
            f"The {what} cannot be read from {path}.",
            hint=f"Give a text file whose first line is the {what}.",
        ) from cause


def default_name() -> str:
    """What other people see until the person chooses a name: the name of the login."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such login on this machine
        return "someone"


def _network(path: str) -> NetworkParameters:
    """The parameters in the network file `path`, or those of the main network."""
    if not path:
        return MAIN
    try:
        with Path(path).open("rb") as file:
            return decode_network(file.read(NETWORK_FILE_BYTES_MAX))
    except OSError as cause:
        raise Dms3Error(
            "config_invalid", f"The network file {path} cannot be read: {cause.strerror}."
        ) from cause
    except DecodeError as error:
        raise Dms3Error(
            "config_invalid", f"{path} is not a network file: {error.reason}."
        ) from error
