"""Commands that run here and not in a node: up, dev, demo, open, sim run, config show.

Source: docs/interfaces.md, "Start" and "Command line". Each imports what it runs when it is called:
help must not wait for a node's libraries.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dms3.cli.output import Output
from dms3.cli.shared import Shared
from dms3.cli.views_local import LOCAL_VIEWS, check_line
from dms3.core.errors import Dms3Error

if TYPE_CHECKING:
    import asyncio

    from dms3.node.config import Config

# ruff: noqa: PLC0415 - imports inside functions: see the module docstring

DEMO_NODES = 8  # half of them die in the end
NO_OVERLAY = "hold nothing public for others"
NO_CIRCUITS = "pass no circuits on between others"


def _option(metavar: str, words: str) -> Any:
    return typer.Option(metavar=metavar, help=words)


class Local:
    """The local commands; typer reads their signatures."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._out = Output(as_json=shared.json)

    def _with(self, view: str) -> Output:
        return Output(as_json=self._shared.json, view=LOCAL_VIEWS[view])

    def up(  # noqa: PLR0913, PLR0917 - one parameter per flag
        self,
        name: Annotated[str | None, typer.Option(help="what other people see")] = None,
        listen: Annotated[str | None, _option("MULTIADDR", "where other nodes connect")] = None,
        api_listen: Annotated[str | None, _option("HOST:PORT", "where API and page listen")] = None,
        public: Annotated[str | None, _option("HOST:PORT", "where roles answer anybody")] = None,
        public_url: Annotated[str | None, _option("URL", "how others reach --public")] = None,
        join: Annotated[list[str] | None, _option("MULTIADDR", "a node to stay joined to")] = None,
        role: Annotated[
            list[str] | None, _option("ROLE", "what to do for others: delivery, gateway")
        ] = None,
        network: Annotated[str | None, _option("FILE", "network file; default: dms3")] = None,
        passphrase_file: Annotated[str | None, _option("FILE", "unlocks a protected home")] = None,
        words_file: Annotated[str | None, _option("FILE", "a new home: of whose words")] = None,
        ethereum: Annotated[list[str] | None, _option("URL", "Ethereum node, for ENS")] = None,
        delivery_days: Annotated[str | None, _option("N", "days kept; 0: until fetched")] = None,
        delivery_size: Annotated[str | None, _option("SIZE", "largest envelope taken")] = None,
        delivery_quota: Annotated[str | None, _option("SIZE", "what may wait for one")] = None,
        delivery_total: Annotated[str | None, _option("SIZE", "what is kept for all")] = None,
        overlay_blocks: Annotated[str | None, _option("SIZE", "blocks held for others")] = None,
        upload_max: Annotated[str | None, _option("SIZE", "largest upload, such as 2GB")] = None,
        log_level: Annotated[str | None, _option("LEVEL", "debug, info, warning, error")] = None,
        no_mdns: Annotated[bool, typer.Option("--no-mdns", help="stay unseen on the LAN")] = False,
        no_overlay: Annotated[bool, typer.Option("--no-overlay", help=NO_OVERLAY)] = False,
        no_circuits: Annotated[bool, typer.Option("--no-circuits", help=NO_CIRCUITS)] = False,
        no_open: Annotated[bool, typer.Option("--no-open", help="open no browser")] = False,
    ) -> None:
        """Run a node in the foreground until Ctrl-C.

        Makes an identity at the first start. Every option is also a key of config.toml and an
        environment variable: --api-listen, api_listen, DMS3_API_LISTEN.

        Example: dms3 up --name alice --join /ip4/192.0.2.1/tcp/7701
        """
        flags = {
            "name": name,
            "listen": listen,
            "api_listen": api_listen,
            "public": public,
            "public_url": public_url,
            "join": tuple(join or ()),
            "role": tuple(role or ()),
            "network": network,
            "passphrase_file": passphrase_file,
            "words_file": words_file,
            "ethereum": tuple(ethereum or ()),
            "delivery_days": delivery_days,
            "delivery_size": delivery_size,
            "delivery_quota": delivery_quota,
            "delivery_total": delivery_total,
            "overlay_blocks": overlay_blocks,
            "upload_max": upload_max,
            "log_level": log_level,
            "mdns": False if no_mdns else None,
            "overlay": False if no_overlay else None,
            "circuits": False if no_circuits else None,
            "open": False if no_open else None,
        }
        from dms3.cli.up import run

        config = self._config(flags)

        def ready(data: Mapping[str, Any]) -> None:
            self._with("up").result(data)
            if config.open and sys.stdout.isatty():
                _browse(data["url"])

        run(config, ready)

    def dev(
        self,
        nodes: Annotated[int, typer.Option("-n", "--nodes", help="how many nodes")] = 3,
        base_port: Annotated[int, typer.Option(help="first port; 0: free ones")] = 0,
        role: Annotated[list[str] | None, _option("NAME=ROLE", "give a node a role")] = None,
    ) -> None:
        """Run a local network of real nodes until Ctrl-C.

        Writes HOME/network.json when all are ready. Of four nodes and more, the last two carry
        messages (role delivery) unless --role says who does what.

        Example: dms3 dev -n 3
        """
        from dms3.cli.dev import dev_network, roles_of

        roles = roles_of(role, nodes) if role else None
        with self._folder("dms3-dev-") as home:

            async def work(stop: asyncio.Event) -> None:
                async with dev_network(home, nodes, base_port, roles) as network:
                    shown = [asdict(node) for node in network.nodes.values()]
                    self._with("dev").result(
                        {"network": str(home / "network.json"), "nodes": shown}
                    )
                    await stop.wait()

            _until_stopped(work)

    def demo(
        self,
        docs: Annotated[Path | None, _option("DIR", "documents; default: Python's own")] = None,
        nodes: Annotated[int, typer.Option("-n", "--nodes", help="how many nodes")] = DEMO_NODES,
        keep: Annotated[bool, typer.Option("--keep", help="let the nodes run on")] = False,
    ) -> None:
        """A guided tour: nodes on this machine share, search and fetch real files.

        Example: dms3 demo --docs ~/letters
        """
        from dms3.cli.demo import Tour, check_enough
        from dms3.cli.dev import dev_network
        from dms3.cli.samples import default_documents
        from dms3.sdk import Client

        check_enough(nodes)
        folder = (docs or default_documents()).expanduser().absolute()
        if not folder.is_dir():
            raise Dms3Error("argument_invalid", f"{folder} is not a folder.")
        stays = keep or sys.stdout.isatty()
        checks: list[Any] = []
        out = self._with("demo")

        async def work(stop: asyncio.Event) -> None:
            async with dev_network(home, nodes) as network:
                first = next(iter(network.nodes.values()))
                async with Client(home=Path(first.home), api=first.api) as client:
                    self._out.note(f"The page of {first.name}: {await client.login_url()}")
                tour = Tour(network, folder, lambda one: out.lines([check_line(asdict(one))]))
                checks.extend(await tour.run())
                ok = all(check.ok for check in checks)
                rows = [asdict(check) for check in checks]
                out.result({"ok": ok, "checks": rows, "home": str(home)})
                if stays and not stop.is_set():
                    self._out.note("The nodes run on; Ctrl-C stops them.")
                    await stop.wait()

        with self._folder("dms3-demo-") as home:
            _until_stopped(work)
        if not checks or not all(check.ok for check in checks):
            raise typer.Exit(1)

    def open(
        self,
        no_open: Annotated[bool, typer.Option("--no-open", help="only print the link")] = False,
    ) -> None:
        """Open the node's page in a browser; the link works once and for a minute.

        Example: dms3 open
        """
        from dms3.sdk import SyncClient

        with SyncClient(self._shared.home, self._shared.api) as client:
            url = client.login_url()
        self._with("open").result({"url": url})
        if not no_open and sys.stdout.isatty():
            _browse(url)

    def sim_run(
        self,
        scenario: Annotated[
            str, typer.Argument(metavar="SCENARIO", help="bank, lookup, churn, devices or mail")
        ],
        nodes: Annotated[int, typer.Option(help="simulated nodes")] = 20,
        seed: Annotated[int, typer.Option(help="equal seeds give equal runs")] = 0,
        minutes: Annotated[float | None, typer.Option(help="virtual time of work")] = None,
        fidelity: Annotated[str, typer.Option(help="messages, or bytes for small worlds")] = (
            "messages"
        ),
    ) -> None:
        """Run production code in a simulated world of faults, from a seed.

        Example: dms3 sim run bank --nodes 20 --seed 7
        """
        from dms3.sim.run import run_scenario

        if not run_scenario(scenario, nodes, seed, minutes, self._out.line, fidelity=fidelity):
            raise typer.Exit(1)

    def dapp_new(
        self,
        name: Annotated[str, typer.Argument(metavar="NAME", help="lower-case letters, digits, -")],
        folder: Annotated[Path, _option("DIR", "where its folder is made")] = Path(),
    ) -> None:
        """Write the folder of a new app: rules, functions, a page, a test.

        Example: dms3 dapp new guests
        """
        from dms3.cli.making import new

        new(name, folder.expanduser().absolute(), self._shared)

    def config_show(
        self,
        origin: Annotated[bool, typer.Option("--origin", help="say where each is from")] = False,
    ) -> None:
        """The settings that `dms3 up` would use.

        Example: dms3 config show --origin
        """
        config = self._config({})
        settings = {key: value for key, value in asdict(config).items() if key != "origin"}
        if origin:
            rows: dict[str, Any] = {
                "settings": [
                    {"setting": k, "value": v, "origin": config.origin.get(k, "flag")}
                    for k, v in settings.items()
                ]
            }
            rows["settings"][0]["value"] = str(config.home)
            self._with("config show").result(rows)
        else:
            self._with("config show").result(settings | {"home": str(config.home)})

    def _config(self, flags: Mapping[str, Any]) -> Config:
        from dms3.node.config import load_config
        from dms3.sdk.where import default_home

        home = self._shared.home or default_home().expanduser().absolute()
        return load_config(home, flags, os.environ)

    @contextlib.contextmanager
    def _folder(self, prefix: str) -> Any:
        """The home folder if one was named, else a new one that goes at the end."""
        if self._shared.home is not None:
            self._shared.home.mkdir(parents=True, exist_ok=True)
            yield self._shared.home
            return
        import tempfile

        with tempfile.TemporaryDirectory(prefix=prefix) as name:
            yield Path(name)


def _browse(url: str) -> None:
    import webbrowser

    webbrowser.open(url)


def _until_stopped(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `work(stop)`; the first SIGINT or SIGTERM sets `stop`, the second cancels."""
    import asyncio
    import signal

    async def run() -> None:
        stop = asyncio.Event()
        task = asyncio.current_task()
        assert task is not None

        def stopped() -> None:
            if stop.is_set():
                task.cancel()
            stop.set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped)
        await work(stop)

    asyncio.run(run())
