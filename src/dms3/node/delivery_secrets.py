"""The secrets of a node as a delivery service, all made from one random seed in its store.

Source: docs/delivery.md, "What lies here". The seed is in no backup: the name of a service is that
of its node, which is never restored either.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dms3.core.database import Database
from dms3.core.machine import Entropy
from dms3.dm3.keys import ProfileKeys
from dms3.io.mailroom import service_seed


@dataclass(frozen=True, slots=True, eq=False)
class ServiceSecrets:
    """What a node is as a delivery service, made from one random seed that never leaves the store.

    `keys`: its profile keys, with the role and without (messages from node to node). `room`: the
    key of the mailroom's columns.
    """

    keys: ProfileKeys
    room: bytes = field(repr=False)


def service_secrets(store: Database, entropy: Entropy) -> ServiceSecrets:
    """The secrets of the node on `store`, made the first time; blocks on the disk."""
    seed = service_seed(store, entropy)
    keys = ProfileKeys.of_seeds(_derived(seed, b"encryption"), _derived(seed, b"signing"))
    return ServiceSecrets(keys, _derived(seed, b"room"))


def _derived(seed: bytes, purpose: bytes) -> bytes:
    info = b"dms3 delivery " + purpose
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(seed)
