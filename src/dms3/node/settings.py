"""What a running node is told from outside, after `node/config.py` has read and checked it.

Source: docs/architecture.md, "Configuration". No behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dms3.core.limits import HELD_BLOCKS_BYTES_MAX, UPLOAD_BYTES_MAX
from dms3.core.network import NetworkParameters
from dms3.delivery.properties import Properties


@dataclass(frozen=True, slots=True)
class Settings:
    """What a node is told from outside: its `name` for people, where it listens and whom it joins.

    `name_chosen`: whether a person chose the name; otherwise only a new home takes it.
    `network`: the parameters of the network it belongs to. `upload_max`: bytes of one upload.
    `words`: the twelve words of the person a new home is made for, "" for a new person. `mdns`:
    whether to meet nodes on the local network; `overlay`: whether to take part in the public one.
    `overlay_blocks`: bytes of others' blocks that it holds in each overlay.
    `circuits`: whether to pass circuits between other nodes when this one can be reached.
    `ethereum`: URLs of Ethereum nodes.
    `delivery`: what it is as a delivery service, None for none; `public_url`: where that answers.
    """

    name: str
    listen: Sequence[str]
    join: Sequence[str]
    network: NetworkParameters
    upload_max: int = UPLOAD_BYTES_MAX
    words: str = field(default="", repr=False)
    name_chosen: bool = False
    mdns: bool = True
    overlay: bool = True
    overlay_blocks: int = HELD_BLOCKS_BYTES_MAX
    circuits: bool = True
    ethereum: Sequence[str] = ()
    delivery: Properties | None = None
    public_url: str = ""
