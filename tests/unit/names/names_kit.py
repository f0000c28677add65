"""A machine "names" driven by hand, with an overlay, contacts, chain and web that tests fill."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from dms3.core.errors import Failure
from dms3.core.ids import RequestId
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Cancel,
    Delete,
    Effect,
    Notify,
    Now,
    Persist,
    Reply,
)
from dms3.core.overlay import Content, GetContent, Got, Placed, PutContent
from dms3.core.verdict import Valid
from dms3.crypto.keys import Account, KeyTree
from dms3.crypto.signing import SigningKey
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.lookup import PublishProfile, Resolve
from dms3.dm3.profile import ServiceProfile, SignedProfile, UserProfile, sign_profile
from dms3.names import claim, record
from dms3.names.finding import Known
from dms3.names.names import Names
from dms3.names.own import Owner

WALL_US = 1_800_000_000_000_000
TYPES = {kind.name: kind for kind in (record.profile_type(), claim.name_type())}


class Person:
    """Somebody with a root, an account and a profile."""

    def __init__(self, seed: bytes) -> None:
        tree = KeyTree(seed * 64)
        self.root: SigningKey = tree.root()
        self.account: Account = tree.account()
        self.node = SigningKey.of_seed(seed.swapcase() * 32)
        self.keys = ProfileKeys.of_seed(tree.dm3())
        self.owner = Owner(self.root, self.node, self.account.address)

    def profile(self, *services: str) -> SignedProfile:
        plain = UserProfile(services, self.keys.encryption_public, self.keys.signing_public)
        return sign_profile(self.account.secret, plain)

    def service(self, url: str = "https://ds.example.org") -> ServiceProfile:
        return ServiceProfile(self.keys.encryption_public, self.keys.signing_public, url)

    def record(self, wall_us: int = WALL_US, **more: Any) -> Content:
        given = {"profile": self.profile("ds.dms3").text().encode(), "service": b""} | more
        until_us = wall_us + 10**12
        bare = record.ProfileRecord(
            1,
            self.root.public,
            given.get("address", self.account.address),
            given["profile"],
            given["service"],
            given.get("sequence", 1),
            wall_us,
            until_us,
            b"",
        )
        return record.sign_record(self.root, bare)


ALICE, BOB, EVE = Person(b"a"), Person(b"b"), Person(b"e")


class World:
    """`overlay` and `contacts` answer the machine; `ports` answers anything else by port name."""

    def __init__(self, person: Person = ALICE) -> None:
        self.person = person
        self.values: dict[tuple[str, bytes], list[tuple[int, bytes]]] = {}  # (holders, value)
        self.contacts: dict[str, Known] = {}
        self.ports: dict[str, Callable[[Any], Any]] = {}
        self.asked: list[tuple[str, Any]] = []
        self.rows: dict[tuple[str, bytes], bytes] = {}
        self.notes: list[Notify] = []
        self.replies: dict[RequestId, Any] = {}
        self.nodes = 8
        self.held_back: list[Call] | None = None
        self.now = Now(1_000_000, WALL_US)
        self.count = 0
        self.start()

    # what the machine sees

    def get(self, table: str, key: bytes) -> bytes | None:
        return self.rows.get((table, key))

    def range(self, table: str, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        found = [(k, v) for (t, k), v in sorted(self.rows.items()) if t == table and k >= start]
        return found[:limit]

    def start(self) -> None:
        self.machine = Names(self.person.owner, lambda contact: contact)
        self._do(self.machine.on_start(self, self.now))

    # what tests do

    def call(self, operation: str, arguments: Any = None) -> Any:
        return self.replies.get(self.ask(operation, arguments))

    def ask(self, operation: str, arguments: Any = None) -> RequestId:
        self.count += 1
        request = RequestId(self.count)
        self._do(self.machine.on_event(Called(operation, arguments, request), self.now))
        self.run(0)
        return request

    def resolve(self, name: str, *, fresh: bool = False) -> Any:
        return self.call("resolve", Resolve(name, fresh))

    def publish(self, *services: str, **more: Any) -> Any:
        return self.call("publish", PublishProfile(self.person.profile(*services), **more))

    def put(self, content: Content, holders: int = 5) -> None:
        kind = TYPES[content.type]
        assert kind.validate(content.key, content.value, self.now.wall_us) == Valid()
        self.values.setdefault((content.type, content.key), []).append((holders, content.value))

    def run(self, for_us: int) -> None:
        """Let time pass, timers included; work in slices is finished within the instant."""
        end_us = self.now.mono_us + for_us
        for _ in range(100_000):
            due = self.machine.next_timer()
            soon = due is not None and due <= max(end_us, self.now.mono_us + 1_000)
            if not soon or (due is not None and for_us == 0 and due > self.now.mono_us + 1_000):
                break
            assert due is not None
            self._advance(due)
            self._do(self.machine.on_timer(self.now))
        self._advance(end_us)

    def event(self, event: Any) -> None:
        self._do(self.machine.on_event(event, self.now))

    def release(self) -> None:
        """Answer what was held back."""
        held, self.held_back = self.held_back or [], None
        for call in held:
            self._answer(call)

    def _advance(self, to_us: int) -> None:
        step = max(0, to_us - self.now.mono_us)
        self.now = Now(self.now.mono_us + step, self.now.wall_us + step)

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Call():
                    if self.held_back is None:
                        self._answer(effect)
                    else:
                        self.held_back.append(effect)
                case Reply(request, body):
                    assert request not in self.replies, "answered twice"
                    self.replies[request] = body
                case Persist(table, key, value):
                    self.rows[(table, key)] = value
                case Delete(table, key):
                    self.rows.pop((table, key), None)
                case Notify():
                    self.notes.append(effect)
                case Cancel():
                    pass

    def _answer(self, call: Call) -> None:
        self.asked.append((call.port, call.arguments))
        body = self._body(call.port, call.arguments)
        self._do(self.machine.on_event(Answered(call.token, body), self.now))

    def _body(self, port: str, arguments: Any) -> Any:
        if port in self.ports:
            return self.ports[port](arguments)
        if port == "peers.contact_find":
            found = self.contacts.get(arguments)
            return found or Failure("not_found", f"There is no contact {arguments!r}.")
        if port == "dht.get":
            return self._get(arguments)
        if port == "dht.put":
            return self._put(arguments)
        if port.startswith("ethereum."):
            return Failure("peer_unreachable", "This node asks no Ethereum node.")
        raise AssertionError(f"nobody answers {port}")

    def _get(self, get: GetContent) -> Got:
        kind = TYPES[get.type]
        held = [
            (holders, value)
            for holders, value in self.values.get((get.type, get.key), [])
            if kind.validate(get.key, value, self.now.wall_us) == Valid()
        ]
        held.sort(key=lambda one: -one[0])
        if not kind.contested:
            held = held[:1]
        values = tuple(value for _, value in held)
        return Got(values, None, 1, self.nodes, tuple(holders for holders, _ in held))

    def _put(self, put: PutContent) -> Placed:
        for content in put.contents:
            kind = TYPES[content.type]
            assert len(content.value) <= kind.value_bytes_max
            assert kind.validate(content.key, content.value, self.now.wall_us) == Valid()
            place = self.values.setdefault((content.type, content.key), [])
            if place:
                place[0] = (place[0][0], kind.merge(place[0][1], content.value))
            elif self.nodes:
                place.append((self.nodes, content.value))
        return Placed((self.nodes,) * len(put.contents), 8)


def gets(world: World, kind: str) -> int:
    """How often the overlay was asked for values of `kind`."""
    return sum(port == "dht.get" and arguments.type == kind for port, arguments in world.asked)


@functools.cache
def worked(name: str, root: bytes) -> int:
    """The puzzle of a claim, solved once."""
    work = claim.find_work(name, root, 0, 1 << 24)
    assert work is not None
    return work


def claimed(person: Person, name: str, wall_us: int = WALL_US) -> Content:
    """A valid claim of `person`."""
    work = worked(name, person.root.public)
    bare = claim.NameClaim(1, name, person.root.public, work, wall_us, wall_us + 10**12, b"")
    return claim.sign_claim(person.root, bare)


def altered(content: Content, **more: Any) -> Content:
    return dataclasses.replace(content, **more)
