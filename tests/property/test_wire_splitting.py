"""However the byte stream is cut on its way, the same things happen."""

from hypothesis import given, settings
from hypothesis import strategies as st

from dms3.libp2p.events import ConnectionEvent, StreamData
from unit.libp2p.wire_kit import ECHO, Pair

BODIES = [b"", b"x", bytes(range(256)) * 300]


class _Cut(Pair):
    """Pieces of the drawn sizes, again and again."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self._sizes = sizes
        self._next = 0

    def _cut(self, data: bytes) -> list[bytes]:
        parts = []
        while data:
            size = self._sizes[self._next % len(self._sizes)]
            self._next += 1
            parts.append(data[:size])
            data = data[size:]
        return parts


def _story(pair: Pair) -> tuple[list[ConnectionEvent], list[ConnectionEvent]]:
    pair.run()
    for body in BODIES:
        stream = pair.a.open_stream([ECHO])
        pair.a.send(stream, body)
        pair.a.finish(stream)
        pair.run()
        pair.b.send(stream, body)
        pair.b.finish(stream)
        pair.run()
    pair.a.close("done")
    pair.run()
    return _joined(pair.take_a()), _joined(pair.take_b())


def _joined(events: list[ConnectionEvent]) -> list[ConnectionEvent]:
    """Neighbouring pieces of a stream as one: how data is cut is not part of the story."""
    out: list[ConnectionEvent] = []
    for event in events:
        last = out[-1] if out else None
        pieces = isinstance(event, StreamData) and isinstance(last, StreamData)
        if pieces and last.stream == event.stream:
            out[-1] = StreamData(event.stream, last.data + event.data)
        else:
            out.append(event)
    return out


WHOLE = _story(Pair())


@settings(max_examples=40)
@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=8))
def test_cutting_changes_nothing(sizes):
    assert _story(_Cut(sizes)) == WHOLE
