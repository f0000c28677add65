"""What tests of dapps import: nodes in one process on simulated time, with the real sandbox.

Source: docs/testing.md. Importing this costs nothing; the first network loads what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from dms3.testing.nodes import Nodes

__all__ = ["network"]


def network(
    nodes: int | Sequence[str] = 5,
    dapp: str | Path = "guestbook",
    *,
    seed: int = 0,
    proofs: Mapping[str, Any] | None = None,
    overlay: Literal["known", "real"] = "known",
) -> Nodes:
    """Nodes with the app `dapp`, started and quiet; a context, or to be closed.

    `nodes`: how many (alice, bob, carol, ...), or their names. `dapp`: a folder, or the name of an
    app that comes with dms3. `seed`: equal seeds give equal runs. `proofs`: membrane proofs by
    name; the app of a node named there may be refused (`state`, `problem`). `overlay`: everybody
    knows everybody, or nodes find each other with the real dht, which takes longer. Raises what is
    wrong with the app.
    """
    from dms3.testing import nodes as made  # noqa: PLC0415 - pytest loads this package at its start

    return made.network(nodes, dapp, seed=seed, proofs=proofs, overlay=overlay)
