"""The answer to /ipfs/ping/1.0.0: every 32 bytes come back as they are.

Source: libp2p ping specification. Our own round-trip time is measured by Yamux pings.
"""

from __future__ import annotations

PROTOCOL = "/ipfs/ping/1.0.0"
PAYLOAD_BYTES = 32


class PingEcho:
    """The listening side of one ping stream."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def receive(self, data: bytes) -> bytes:
        """What to send back: whole payloads only."""
        data = self._buffer + data
        whole = len(data) - len(data) % PAYLOAD_BYTES
        self._buffer = data[whole:]
        return data[:whole]
