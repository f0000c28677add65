"""How the reference's messenger seals what it keeps at a service: contact names and envelopes.

Source: the dm3 reference (messenger-widget, "cloud storage"); docs/dm3.md, "Formats". For reading
and writing what that messenger keeps, and for nothing else: all names of a person are sealed
with one key and one nonce, so whoever sees two of them learns how they differ. `storage/` seals
our own.
"""

from __future__ import annotations

from dms3.core.errors import DecodeError
from dms3.core.limits import DM3_ENVELOPE_BYTES_MAX
from dms3.core.machine import Entropy
from dms3.dm3.canonical import decode_base64, encode_base64, hash_text
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.sealing import NONCE_BYTES, open_symmetric, open_text, seal_symmetric, seal_text

_NAME_PADDING = 1  # the length of a name is seen


def seal_name(keys: ProfileKeys, own_name: str, text: str) -> str:
    """`text` (a contact's name, a profile's place) as the messenger of `own_name` keeps it."""
    nonce = bytes.fromhex(hash_text(own_name)[2:])[:NONCE_BYTES]
    sealed = seal_symmetric(keys.encryption_secret, nonce, text, _NAME_PADDING)
    return encode_base64(sealed.encode())


def open_name(keys: ProfileKeys, stored: str) -> str:
    """What `seal_name` was given; raises DecodeError."""
    return open_symmetric(keys.encryption_secret, _payload(stored), _NAME_PADDING)


def seal_container(keys: ProfileKeys, text: str, entropy: Entropy) -> str:
    """`text` (an envelope and its state, canonical JSON) sealed to the person's own key."""
    return encode_base64(seal_text(keys.encryption_public, text, entropy).encode())


def open_container(keys: ProfileKeys, stored: str) -> str:
    """What `seal_container` was given; raises DecodeError."""
    return open_text(keys.encryption_secret, _payload(stored))


def server_id(own_name: str, message_hash: str) -> str:
    """Under what the reference's server keeps a message of `own_name`."""
    return hash_text(own_name + message_hash)


def _payload(stored: str) -> str:
    if len(stored) > DM3_ENVELOPE_BYTES_MAX:
        raise DecodeError(DM3_ENVELOPE_BYTES_MAX, "what is stored is too long")
    try:
        return decode_base64(stored).decode()
    except UnicodeError as cause:
        raise DecodeError(0, "what is stored is not text") from cause
