"""Who misbehaves: points for each deed, and a while without connections for who has too many.

Source: docs/wire.md, "Conduct". The points of each deed are in `p2p/conduct.py`, the rows in
`p2p/known.py`; the transport keeps out who is refused. Part of machine "peers".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId, RequestId
from dms3.core.limits import REFUSE_US
from dms3.core.machine import Effect, Notify, Now, Reply
from dms3.libp2p.peer_id import peer_id_text
from dms3.libp2p.peer_record import ForgedRecordError
from dms3.p2p.grounds import Grounds
from dms3.p2p.port import Conducted, Introduced, Refuse


class Refusing:
    """What others, and what they sign, are held to. It closes no connection itself."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._known = grounds.known
        self.operations: dict[str, Callable[[Any, RequestId, Now], list[Effect]]] = {
            "conduct": self._conduct,
            "introduced": self._introduced,
        }

    def start(self, now: Now) -> list[Effect]:
        """Refuse again whom we refused before the node stopped, for what is left."""
        return [
            self._grounds.order(
                "refuse", Refuse(PeerId(known.peer), known.refused_until_us - now.wall_us)
            )
            for known in self._known.refused(now.wall_us)
        ]

    def misconduct(self, peer: PeerId, code: str, now: Now) -> list[Effect]:
        """Hold `code` (`p2p/conduct.py`) against `peer`; with too many points it is refused."""
        if not self._known.misconduct(peer, code, now):
            return []
        effects = self._known.refuse(peer, now.wall_us + REFUSE_US)
        data = {"peer": peer_id_text(peer), "code": code}
        refuse = self._grounds.order("refuse", Refuse(peer, REFUSE_US))
        return [*effects, refuse, Notify("peer.refused", data)]

    def _conduct(self, conducted: Conducted, request: RequestId, now: Now) -> list[Effect]:
        effects = self.misconduct(conducted.peer, conducted.code, now)
        return [*effects, Reply(request, None)]

    def _introduced(self, introduced: Introduced, request: RequestId, now: Now) -> list[Effect]:
        try:
            effects = self._known.introduced(introduced)
        except ForgedRecordError:
            effects = self.misconduct(introduced.peer, "record_forged", now)
        except DecodeError:
            effects = []  # a record of a kind that we do not know
        return [*effects, Reply(request, None)]
