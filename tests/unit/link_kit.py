"""Two links over a pair in memory, and one against a peer that writes its own bytes."""

from dms3.core.limits import SECOND_US
from dms3.p2p.frames import VERSION, Version, decode_frames, encode_frame, encode_version
from dms3.p2p.link import Link
from dms3.p2p.stream import Asked, Misconduct, Told
from dms3.testing.muxed import muxed_pair

NETWORK = bytes(range(32))
OTHER_NETWORK = bytes(32)
P = "/dms3/test/1"
Q = "/dms3/other/1"
BOTH = {P: (0,), Q: (0,)}
HELLO = encode_frame(VERSION, 0, encode_version(Version(NETWORK, (0,))))
LATER = 1000 * SECOND_US


def whole(size):
    return size


class World:
    """Two links joined in memory; `run` lets bytes travel until nothing moves."""

    def __init__(self, left=BOTH, right=BOTH, networks=(NETWORK, NETWORK), split=whole) -> None:
        self.ends = muxed_pair(left.__contains__, right.__contains__)
        self.links = [
            Link(end, protocols, network)
            for end, protocols, network in zip(self.ends, (left, right), networks, strict=True)
        ]
        self.events = ([], [])
        self.split = split
        self.now = 0
        self.take = True

    def deliver(self):
        """Hand what happened at each end to its link."""
        for end, link, log in zip(self.ends, self.links, self.events, strict=True):
            happened, end.happened = end.happened, []
            for what in happened:
                found = feed(link, what, self.now)
                log.extend(found)
                if self.take:
                    for event in found:
                        if isinstance(event, Asked | Told):
                            link.taken(event)

    def run(self, rounds=10_000):
        self.deliver()
        for _ in range(rounds):
            moved = [end.flow(self.split) for end in self.ends]
            self.deliver()
            if not any(moved):
                return

    def tick(self, now):
        """Move time and run the timers that are due."""
        self.now = now
        for link, log in zip(self.links, self.events, strict=True):
            due = link.next_timer()
            if due is not None and due <= now:
                log.extend(link.on_timer(now))
        self.run()

    def seen(self, side, kind):
        return [event for event in self.events[side] if isinstance(event, kind)]


def feed(link, what, now):
    if what.kind == "opened":
        return link.on_opened(what.stream, what.protocol, now)
    if what.kind == "data":
        return link.on_data(what.stream, what.data, now)
    if what.kind == "finished":
        return link.on_finished(what.stream)
    if what.kind == "reset":
        return link.on_reset(what.stream, what.protocol)
    link.on_drained(what.stream)
    return []


class Foe:
    """A link (`link`, at the left end) against a right end driven by hand."""

    def __init__(self) -> None:
        self.end, self.foe = muxed_pair()
        self.link = Link(self.end, BOTH, NETWORK)
        self.events = []
        self.got = bytearray()
        self.now = 0
        self.reads = True
        self.take = True

    def open(self, protocol=P, hello=HELLO):
        stream = self.foe.open_stream([protocol])
        self.foe.send(stream, hello)
        self.run()
        return stream

    def write(self, stream, *frames: bytes):
        for frame in frames:
            self.foe.send(stream, frame)
        self.run()

    def run(self):
        moved = True
        while moved:
            moved = self.foe.flow(whole)
            if self.reads:
                moved |= self.end.flow(whole)
            happened, self.end.happened = self.end.happened, []
            for what in happened:
                found = feed(self.link, what, self.now)
                self.events += found
                for event in found if self.take else []:
                    if isinstance(event, Asked | Told):
                        self.link.taken(event)
            for what in self.foe.happened:
                if what.kind == "data":
                    self.got += what.data
                    self.foe.consume(what.stream, len(what.data))
            self.foe.happened = []

    def tick(self, now):
        self.now = now
        self.events += self.link.on_timer(now)
        self.run()

    @property
    def codes(self):
        return [event.code for event in self.events if isinstance(event, Misconduct)]

    @property
    def asked(self):
        return [event for event in self.events if isinstance(event, Asked)]

    def frames(self):
        return decode_frames(bytes(self.got))
