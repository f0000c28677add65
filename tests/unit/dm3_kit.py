"""What the tests of dm3's formats share: the vectors of the reference, keys in them, entropy."""

import base64
import json
import random
from pathlib import Path
from typing import Any

from dms3.dm3.keys import ProfileKeys
from dms3.dm3.profile import ServiceProfile, UserProfile, decode_service_profile

VECTORS = Path(__file__).parents[1] / "vectors" / "dm3"


def load(number: str) -> dict[str, Any]:
    """The vector file whose name starts with `number`."""
    (path,) = VECTORS.glob(f"{number}-*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def unbase(text: str) -> bytes:
    return base64.b64decode(text)


def keys_of(found: dict[str, Any]) -> ProfileKeys:
    """The keys of a vector, both pairs as they stand there."""
    encryption, signing = found["encryptionKeyPair"], found["signingKeyPair"]
    return ProfileKeys(
        unbase(encryption["publicKey"]),
        unbase(signing["publicKey"]),
        unbase(encryption["privateKey"]),
        unbase(signing["privateKey"]),
    )


class Stream:
    """Entropy from a seed, the same in every run."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def draw(self, count: int) -> bytes:
        return self._random.randbytes(count)


ALICE = ProfileKeys.of_seed(unbase(load("02")["vectors"][0]["storage_key_b64"]))
BOB = ProfileKeys.of_seed(unbase(load("02")["vectors"][2]["storage_key_b64"]))
SERVICE = keys_of(load("04")["keys"])
SERVICE_PROFILE: ServiceProfile = decode_service_profile(load("04")["profile"])


def profile_of(keys: ProfileKeys, *services: str) -> UserProfile:
    return UserProfile(services, keys.encryption_public, keys.signing_public)
