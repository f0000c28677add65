"""What conversation storage needs of other parts, put together: port "place", and what renews.

Source: docs/storage.md. Adapters do not know each other; this is where the kinds of places meet the
home, the overlay and the person's keys. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dms3.core.database import Database
from dms3.core.errors import Dms3Error
from dms3.core.limits import PLACE_KEYS_TRIED_MAX
from dms3.core.machine import Entropy, Now
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.profile import SignedProfile
from dms3.io.loop import Port
from dms3.io.place_ipfs import open_ipfs
from dms3.io.place_local import LocalPlace
from dms3.io.place_opendal import open_opendal
from dms3.io.place_service import Account, open_service
from dms3.io.places import BackEnd, Places
from dms3.names.forms import key_name
from dms3.node.identity import Identity
from dms3.node.overlay_place import Clock, OverlayPlace
from dms3.storage.operations import Place

Call = Callable[[str, Any], Awaitable[Any]]
_TAG_BYTES = 8


class Placing:
    """Port "place" of a node; `run` as a task, `close` at the end.

    `folder`: where what lies on this node alone lies. `call`: asks an operation of a machine.
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        database: Database,
        call: Call,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        tag = entropy.draw(_TAG_BYTES).hex()
        overlay = OverlayPlace(overlay_seed(identity), call, database, clock)

        def cloud(place: Place) -> BackEnd:
            return open_opendal(place, tag, lambda: _wall_us(clock.now()))

        async def who() -> Account:
            return await account_of(identity, call)

        self._overlay = overlay
        self._places = Places(
            {
                "local": lambda _: LocalPlace(folder),
                "overlay": lambda _: overlay,
                "ipfs": lambda place: open_ipfs(place, tag),
                "s3": cloud,
                "webdav": cloud,
                "opendal": cloud,
                "service": lambda place: open_service(place, who),
            },
            entropy,
        )
        self.ports: dict[str, Port] = {"place": self._places.serve}

    async def run(self) -> None:
        """Put again into the overlay what would expire, until cancelled."""
        try:
            await self._overlay.keep()
        finally:
            await self._places.close()


def overlay_seed(identity: Identity) -> bytes:
    """32 bytes from which the keys of this person's chunks in the overlay are made.

    The same on every device and for every generation: names are secret already, and what lies under
    an earlier one stays to be found.
    """
    info = b"dms3 storage overlay"
    made = HKDF(algorithm=SHA256(), length=32, salt=None, info=info)
    return made.derive(identity.tree.storage())


async def account_of(identity: Identity, call: Call) -> Account:
    """As whom this node logs in at its person's delivery services; raises `unauthorized`."""
    signed: SignedProfile = await call("mailbox.profile", None)
    for generation in range(PLACE_KEYS_TRIED_MAX):
        keys = ProfileKeys.of_seed(identity.tree.dm3(generation))
        if keys.signing_public == signed.profile.signing:
            return Account(key_name(identity.root), keys)
    raise Dms3Error(
        "unauthorized",
        "the keys of the profile came from a wallet",
        hint='Choose it again with a --secret-file: {"name": NAME, "seed": 64 characters of hex}.',
    )


def _wall_us(now: Now) -> int:
    return now.wall_us
