"""How a node is: what `dms3 status` shows and what `dms3 doctor` looks at, each with a fix.

Source: docs/interfaces.md. Every check says what it saw with its value; none changes anything.
"""

from __future__ import annotations

import asyncio
import shutil
import stat
from typing import Any

from dms3.chain.operations import ChainHead
from dms3.core.limits import (
    BACKUP_OLD_US_MAX,
    DISK_RESERVE_BYTES_MIN,
    LAG_WARN_US,
    SECOND_US,
)
from dms3.core.overlay import PUBLIC, OverlayFigures
from dms3.libp2p.peer_id import peer_id_text
from dms3.node.home import Home
from dms3.node.node import Node
from dms3.node.overlay_held import holds
from dms3.node.people import location_text
from dms3.node.services import Health
from dms3.p2p.circuits import Standing
from dms3.p2p.known import PeerRow
from dms3.search.operations_public import Publication

MB = 1_000_000
DAY_US = 24 * 3600 * SECOND_US


async def describe(node: Node) -> dict[str, Any]:
    """The parts of `dms3 status` that an open node knows."""
    rows: tuple[PeerRow, ...] = await node.call("peers.list")
    contacts = await node.call("peers.contact_list")
    spaces = await node.library.spaces()
    grants = await node.call("sharing.grants")
    jobs = await node.call("fetch.jobs")
    connected = [row for row in rows if row.connected]
    documents, size = await node.library.fetched()
    return {
        "name": node.identity.name,
        "root": node.identity.root.hex(),
        "peer_id": peer_id_text(node.identity.peer),
        "location": location_text(node.identity.peer),
        "addresses": list(node.addresses),
        "peers": {"connected": len(connected), "known": len(rows)},
        "words_written": await node.call("noting.words"),
        "contacts": {
            "known": len(contacts),
            "connected": sum(row.name is not None for row in connected),
        },
        "spaces": {"mine": len(spaces), "shared_with_me": len(grants.received)},
        "documents": sum(space.documents for space in spaces),
        "bytes": sum(space.bytes for space in spaces),
        "fetched": {"documents": documents, "bytes": size},
        "fetches": len(jobs),
        "overlay": await _overlay(node),
        "public": await _publishing(node),
        "upkeep": _upkeep(node),
        "backup": _backup(node),
        "last_event": await asyncio.to_thread(node.store.last_event),
        "lag_milliseconds": node.lag_us / 1_000,
    }


async def _overlay(node: Node) -> dict[str, Any]:
    """How this node stands in the public overlay, and what it holds for others there."""
    figures = await _public(node)
    return {
        "member": figures.member,
        "nodes": len(figures.nodes),
        "held": sum(values for _, values, _ in figures.held),
        "held_bytes": sum(size for _, _, size in figures.held),
        "holds": holds(figures),
    }


async def _publishing(node: Node) -> dict[str, Any]:
    """How many spaces are public, how many in networks, and which are on the way there or back."""
    rows: tuple[Publication, ...] = await node.call("publishing.spaces")
    done = [row for row in rows if row.stage == "done"]
    return {
        "spaces": sum(row.overlay == PUBLIC for row in done),
        "in_networks": sum(row.overlay != PUBLIC for row in done),
        "under_way": [row.name for row in rows if row.stage != "done"],
        "waiting": [row.name for row in rows if row.waiting],
    }


async def _public(node: Node) -> OverlayFigures:
    every: tuple[OverlayFigures, ...] = await node.call("dht.figures")
    return next(figures for figures in every if figures.overlay == PUBLIC)


def _upkeep(node: Node) -> dict[str, Any]:
    """Packs and what is dead in them, as the last pass of upkeep saw them."""
    figures = node.upkeep.figures
    return {
        "running": figures.running,
        "passes": figures.passes,
        "packs": figures.packs,
        "pack_bytes": figures.pack_bytes,
        "dead_bytes": figures.dead_bytes,
        "removed_bytes": node.upkeep.removed.bytes,
        "problem": figures.problem,
    }


def _backup(node: Node) -> dict[str, Any] | None:
    """The last backup, None when there has been none."""
    last = node.backing.last
    if last is None:
        return None
    return {"made_us": last.made_us, "place": last.place, "generation": last.generation}


async def examine(home: Home, node: Node | None, *, quick: bool = False) -> list[Health]:
    """Every check; those of the inside only when `node` is open.

    `quick`: without those that read everything.
    """
    checks = [await asyncio.to_thread(_key_mode, home), await asyncio.to_thread(_disk, home)]
    if node is None:
        return [
            *checks,
            Health("node", "warn", "The node is locked.", "Unlock it with dms3 unlock."),
        ]
    return [
        *checks,
        *(() if quick else (await asyncio.to_thread(_database, node),)),
        await _peers(node),
        await _reach(node),
        await _contacts(node),
        await _public_overlay(node),
        await _backed_up(node),
        await _chains(node),
        _lag(node),
    ]


def _key_mode(home: Home) -> Health:
    for path in (home.key, home.token_file):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            return Health(
                "secrets", "fail", f"{path} can be read by others.", f"Run: chmod 600 '{path}'"
            )
    return Health("secrets", "pass", "Only you can read the key and the API token.")


def _disk(home: Home) -> Health:
    free = shutil.disk_usage(home.path).free
    detail = f"{free // MB} MB are free on the disk of {home.path}."
    if free < DISK_RESERVE_BYTES_MIN:
        return Health("disk", "fail", detail, "Free some space: nothing new is stored.")
    if free < 10 * DISK_RESERVE_BYTES_MIN:
        return Health("disk", "warn", detail, "Free some space soon.")
    return Health("disk", "pass", detail)


def _database(node: Node) -> Health:
    problems = node.store.check()
    if problems:
        return Health(
            "database",
            "fail",
            f"{_counted(len(problems), 'problem')}, first: {problems[0]}",
            "Copy the home folder, then restore it from a backup.",
        )
    return Health("database", "pass", "Every page of the database is whole.")


async def _peers(node: Node) -> Health:
    rows: tuple[PeerRow, ...] = await node.call("peers.list")
    connected = sum(row.connected for row in rows)
    if connected:
        return Health("peers", "pass", f"Connected to {_counted(connected, 'node')}.")
    if not rows:
        return Health("peers", "warn", "No other node is known.", "Add a person: dms3 contact add.")
    problem = next((row.problem.message for row in rows if row.problem), "no answer yet")
    return Health(
        "peers",
        "warn",
        f"{_counted(len(rows), 'node')} known, none connected: {problem}",
        "Look at dms3 peer list; ask whether the other node runs.",
    )


async def _reach(node: Node) -> Health:
    """Whether others can dial this node, and through whom."""
    standing: Standing = await node.call("circuits.standing")
    if standing.hop:
        return Health("reach", "pass", "Others dial this node; it passes circuits on for some.")
    if standing.reached:
        return Health("reach", "pass", "Others dial this node.")
    if standing.hops:
        hops = _counted(len(standing.hops), "hop")
        return Health("reach", "pass", f"Nobody dials this node directly; it is through {hops}.")
    if standing.needs:
        detail = "Nobody can dial this node, and no connected node passes circuits on."
        fix = "Open its port in the router, or join a reachable node: dms3 peer connect MULTIADDR."
        return Health("reach", "warn", detail, fix)
    return Health("reach", "pass", "Nobody has dialled this node yet.")


async def _contacts(node: Node) -> Health:
    grants = await node.call("sharing.grants")
    waiting = [given for given in grants.given if not given.delivered]
    if not waiting:
        return Health("sharing", "pass", "Every grant has reached its reader.")
    first = waiting[0]
    return Health(
        "sharing",
        "warn",
        f"{_counted(len(waiting), 'grant')} not yet delivered, such as that on {first.name!r}.",
        "They are delivered when the reader's node connects.",
    )


async def _public_overlay(node: Node) -> Health:
    figures = await _public(node)
    known = _counted(len(figures.nodes), "node")
    if not figures.nodes:
        detail = "No other node of the public overlay is known."
        fix = "Join one: dms3 peer connect MULTIADDR."
        return Health("overlay", "warn", detail, fix)
    if not figures.member:
        return Health("overlay", "pass", f"{known} known; this node only asks there.")
    values = sum(count for _, count, _ in figures.held)
    held = f"{_counted(values, 'value')} held for others"
    return Health("overlay", "pass", f"{known} known, {held}.")


async def _backed_up(node: Node) -> Health:
    """A hint, and only once there is something to lose."""
    last = node.backing.last
    fix = "Run: dms3 store backup FOLDER, on another disk."
    if last is None:
        if not any(space.documents for space in await node.library.spaces()):
            return Health("backup", "pass", "There is nothing to back up yet.")
        return Health("backup", "warn", "This home was never backed up.", fix)
    age_us = node.clock.now().wall_us - last.made_us
    detail = f"Backed up {_counted(age_us // DAY_US, 'day')} ago into {last.place}."
    if age_us > BACKUP_OLD_US_MAX:
        return Health("backup", "warn", detail, fix)
    return Health("backup", "pass", detail)


async def _chains(node: Node) -> Health:
    """Whether everything that a person's apps wrote here may go on."""
    heads: tuple[ChainHead, ...] = await node.call("source.chains")
    waiting = [head for head in heads if head.standing == "asking"]
    if waiting:
        detail = (
            f"{_counted(len(waiting), 'chain')} of apps may be longer than this home, which was "
            "copied or put back, knows; nothing is written before other nodes have said so."
        )
        fix = "Connect to nodes that have these apps: dms3 peer connect MULTIADDR."
        return Health("chains", "warn", detail, fix)
    mine = sum(head.standing != "foreign" for head in heads)
    return Health("chains", "pass", f"{_counted(mine, 'chain')} of apps on this device.")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun if count == 1 else noun + 's'}"


def _lag(node: Node) -> Health:
    detail = f"The node answers within {node.lag_us / 1_000:.1f} ms of its turn."
    if node.lag_us > LAG_WARN_US:
        return Health("pace", "warn", detail, "The machine is busy; look at what else runs on it.")
    return Health("pace", "pass", detail)
