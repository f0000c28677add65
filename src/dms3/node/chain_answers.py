"""A person's chains, for people and programs: what the `chain` commands do.

Source: docs/chains.md; docs/interfaces.md, `chain`. Implements `ChainServices` of
node/services_chain.py.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dms3.chain.operations import ChainHead, Committed, Query, RevokeAgent
from dms3.chain.operations_validation import OpFigures, Record
from dms3.core.errors import Dms3Error
from dms3.core.ids import OverlayId
from dms3.core.limits import QUERY_RECORDS_MAX
from dms3.core.multibase import encode_base32
from dms3.crypto.keys import DEVICE_BYTES
from dms3.node import dapps_shown as shown
from dms3.node.dapps import Dapps
from dms3.node.node import Node


class ChainAnswers:
    """The services over a running `node`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def _dapps(self) -> Dapps:
        assert self._node.dapps is not None, "apps are a part of every node"
        return self._node.dapps

    async def list(self) -> dict[str, Any]:
        """Every chain that lies here, own ones first."""
        heads: tuple[ChainHead, ...] = await self._node.call("source.chains")
        return {"chains": [self._head(head) for head in heads]}

    async def show(self, dapp: str, device: str | None, after: int, limit: int) -> dict[str, Any]:
        """The records behind `after`; of this device, or of another one of the person."""
        if not 1 <= limit <= QUERY_RECORDS_MAX:
            raise Dms3Error("argument_invalid", f"--limit is 1 to {QUERY_RECORDS_MAX}.")
        app = self._dapps.app(dapp)
        number = _device_of(device)
        asked = Query(app.overlay, after, limit, device=number)
        records: tuple[Record, ...] = await self._node.call("source.query", asked)
        own = self._node.identity.device if number == b"" else number
        heads: tuple[ChainHead, ...] = await self._node.call("source.chains")
        head = next(each for each in heads if (each.overlay, each.device) == (app.overlay, own))
        last = records[-1].signed.action.seq if records else head.seq
        return {
            **self._head(head),
            "records": [shown.record(each) for each in records],
            "next": last if last < head.seq else None,
        }

    async def revoke(self, dapp: str, device: str) -> dict[str, Any]:
        """Take back the key with which a device of the person writes in an app."""
        app = self._dapps.app(dapp)
        asked = RevokeAgent(app.overlay, _device_of(device))
        done: Committed = await self._node.call("source.revoke_agent", asked)
        return {"dapp": app.name, "device": device, "action": str(done.actions[0])}

    async def restore(self, dapp: str) -> dict[str, Any]:
        """Bring what the person wrote in an app with other devices and older homes."""
        app = self._dapps.app(dapp)
        heads: tuple[ChainHead, ...] = await self._node.call("source.restore", app.overlay)
        return {"chains": [self._head(head) for head in heads]}

    async def figures(self, dapp: str | None) -> dict[str, Any]:
        """Of one app, or of all that are installed, in order of their names."""
        names = [app.name for app in self._dapps.apps()] if dapp is None else [dapp]
        return {"apps": [await self._figures(name) for name in sorted(names)]}

    async def reconcile(self, dapp: str) -> dict[str, Any]:
        """Begin a comparison."""
        await self._node.call("validation.reconcile", self._dapps.app(dapp).overlay)
        return await self._figures(dapp)

    async def _figures(self, dapp: str) -> dict[str, Any]:
        app = self._dapps.app(dapp)
        found: OpFigures = await self._node.call("validation.figures", app.overlay)
        held = {"states": dict(found.states), "bytes": found.bytes}
        return {"dapp": app.name, "held": held, **asdict(found.repair)}

    def _head(self, head: ChainHead) -> dict[str, Any]:
        return {"dapp": self._name(head.overlay), **shown.head(head), "device": head.device.hex()}

    def _name(self, overlay: OverlayId) -> str:
        """The name of the app here; its id when it is not installed any more."""
        names = [app.name for app in self._dapps.apps() if app.overlay == overlay]
        return names[0] if names else encode_base32(overlay)


def _device_of(text: str | None) -> bytes:
    if text is None:
        return b""
    try:
        device = bytes.fromhex(text)
    except ValueError:
        device = b""
    if len(device) != DEVICE_BYTES:
        raise Dms3Error(
            "argument_invalid",
            f"{text[:64]!r} is not a device.",
            hint="dms3 chain list shows the devices of your chains.",
        )
    return device
