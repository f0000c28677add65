"""Network: where this node and those it knows lie on the ring, and how each of them is reached.

Source: docs/page.md, "Network"; Kademlia (2002), section 2.1 (the distance). Shows `dms3 peer list`
and `dms3 status`. The picture is drawn here; a table says the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from dms3.core.limits import PAGE_PEERS_MAX
from dms3.core.overlay import HOLDERS_MIN, LOCATION_BYTES, distance
from dms3.web.site import Shown, Site, View
from dms3.web.templating import shell

BITS = 8 * LOCATION_BYTES
CENTRE, RADIUS = 210, 150  # of the picture, in its own units
TOP, SIDE = 30, 65  # less above and more beside: names need room at the sides
LABEL_RADIUS = RADIUS + 22
LABEL_CHARS_MAX = 13
LABEL_TURN_MIN = 0.035  # names nearer than this part of a turn share a label
FOUND = {
    "contact": "you have their card",
    "bootstrap": "named when this node started",
    "lan": "on this local network",
    "exchange": "another node named it",
    "inbound": "it called this node",
    "person": "you gave its address",
    "dht": "while looking something up",
}
"""What `found` of `dms3 peer list` means, in words."""


async def gather(site: Site, _request: Request) -> Shown:
    """The peers with their locations, my location and neighbourhood, what is held for others."""
    status = await site.ask("status")
    listed = await site.ask("peer", "list")
    mine = bytes.fromhex(status["location"])
    peers = listed["peers"][:PAGE_PEERS_MAX]
    placed = [(bytes.fromhex(peer["location"]), peer) for peer in peers if peer["location"]]
    near = neighbourhood(mine, [place for place, _ in placed])
    data = {
        "peers": peers,
        "known": len(listed["peers"]),
        "connected": listed["connected"],
        "node": {name: status[name] for name in ("peer_id", "location", "addresses", "seconds")},
        "neighbourhood": {"bits": near.bits, "nodes": len(near.locations)},
        "overlay": status.get("overlay"),
        "warrants": (await site.ask("warrant", "list"))["warrants"],
    }
    data |= await _networks(site)
    data["held"] = held(data["overlays"])
    contacts = (await site.ask("contact", "list"))["contacts"]
    values = {
        "ring": draw(mine, near, placed),
        "found_words": FOUND,
        "contacts": sorted(one["name"] for one in contacts),
    }
    return Shown(data, "dms3 peer list", values)


def held(overlays: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What this node holds for others in all of its overlays: pieces, and their bytes."""
    return {
        "pieces": sum(one["values"] for one in overlays),
        "bytes": sum(one["bytes"] for one in overlays),
    }


async def _networks(site: Site) -> dict[str, Any]:
    """The person's networks with who is there, every overlay, apps that a network can name."""
    if not site.has("network", "list"):
        return {"networks": [], "overlays": [], "apps": []}
    listed = await site.ask("network", "list")
    for one in listed["networks"]:
        found = await site.ask("network", "members", name=one["name"])
        one["people"], one["put_out"] = found["members"], found["put_out"]
        one["publish"] = shell("store", "publish", "SPACE", "--network", one["name"])
    apps = (await site.ask("dapp", "list"))["dapps"] if site.has("dapp", "list") else []
    return {
        "networks": listed["networks"],
        "overlays": listed["overlays"],
        "apps": [{"name": one["name"], "title": one["title"]} for one in apps],
    }


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The nodes nearest to a location, nearest first, and how many leading bits all share with it.

    All locations with those bits are one arc of the ring.
    """

    locations: tuple[bytes, ...]
    bits: int


def neighbourhood(mine: bytes, others: Sequence[bytes]) -> Neighbourhood:
    """The `HOLDERS_MIN` nodes of `others` nearest to `mine` by exclusive or; all, of fewer."""
    near = tuple(sorted(others, key=lambda one: distance(mine, one))[:HOLDERS_MIN])
    if len(near) < HOLDERS_MIN:
        return Neighbourhood(near, 0)
    return Neighbourhood(near, BITS - distance(mine, near[-1]).bit_length())


def turn(place: bytes) -> float:
    """The part of a whole turn, from the top clockwise, at which a location lies."""
    return int.from_bytes(place[:8], "big") / (1 << 64)


def draw(
    mine: bytes, near: Neighbourhood, placed: Sequence[tuple[bytes, Mapping[str, Any]]]
) -> dict[str, Any]:
    """What the template draws: points of nodes, labels with their names, the arc of `near`.

    `placed`: the location and the row of each node.
    """
    labels: list[tuple[float, list[str]]] = [(turn(mine), [])]
    dots = []
    for place, peer in placed:
        at = turn(place)
        dots.append(
            {
                **_point(at, RADIUS),
                "connected": peer["connected"],
                "contact": bool(peer["name"]),
            }
        )
        if peer["name"]:
            _name(labels, at, peer["name"])
    own, *others = labels
    return {
        "centre": CENTRE,
        "radius": RADIUS,
        "box": f"{-SIDE} {TOP} {2 * (CENTRE + SIDE)} {2 * (CENTRE - TOP)}",
        "me": {**_point(turn(mine), RADIUS), "label": _label(own[0], ["you", *own[1]])},
        "labels": [_label(at, names) for at, names in others],
        "dots": dots,
        "arc": _arc(mine, near.bits),
    }


def _name(labels: list[tuple[float, list[str]]], at: float, name: str) -> None:
    """Put a name at its place, or into the label that stands there."""
    for place, names in labels:
        if _apart(at, place) < LABEL_TURN_MIN:
            names.append(name)
            return
    labels.append((at, [name]))


def _point(at: float, radius: float) -> dict[str, float]:
    angle = 2 * math.pi * at
    return {
        "x": round(CENTRE + radius * math.sin(angle), 1),
        "y": round(CENTRE - radius * math.cos(angle), 1),
    }


def _label(at: float, names: Sequence[str]) -> dict[str, Any]:
    """Names outside the ring, on the side where there is room for them."""
    whole = ", ".join(names)
    cut = whole if len(whole) <= LABEL_CHARS_MAX else whole[: LABEL_CHARS_MAX - 1] + "…"
    sine = math.sin(2 * math.pi * at)
    anchor = "middle" if abs(sine) < 0.35 else "start" if sine > 0 else "end"
    return {**_point(at, LABEL_RADIUS), "text": cut, "anchor": anchor}


def _apart(one: float, other: float) -> float:
    gap = abs(one - other)
    return min(gap, 1 - gap)


def _arc(mine: bytes, bits: int) -> str | None:
    """The path of all locations that share `bits` leading bits with `mine`; None: all."""
    if bits == 0:
        return None
    part = 1 / (1 << bits)
    first = math.floor(turn(mine) / part) * part
    start, end = _point(first, RADIUS), _point(first + part, RADIUS)
    large = int(part > 0.5)
    return f"M{start['x']} {start['y']}A{RADIUS} {RADIUS} 0 {large} 1 {end['x']} {end['y']}"


VIEW = View("/network", "Network", "network.html", gather, key="n")
