"""What a function of an app may ask of the node while it runs: the whitepaper's host functions.

Source: docs/dapps.md, "What functions can ask"; IPS paper, appendix B. One object per call: it
counts, bounds, and gathers a bundle. Values are JSON; names of things are text
(`node/dapps_names.py`). Rules cannot ask any of this.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dms3.chain.dna import Dna
from dms3.chain.entry import make_entry
from dms3.chain.operations import (
    AcceptSession,
    ChainHead,
    Change,
    Close,
    Commit,
    Committed,
    Propose,
    Published,
    Query,
    SendTo,
    Session,
)
from dms3.chain.operations_validation import (
    Activity,
    Found,
    GetActivity,
    GetLinks,
    GetRecord,
    LinkRecord,
    Record,
)
from dms3.core.errors import Dms3Error
from dms3.core.ids import Root
from dms3.core.limits import (
    BUNDLE_ACTIONS_MAX,
    CALLS_NESTED_MAX,
    HOST_CALLS_MAX,
    SECOND_US,
    SIGNAL_BYTES_MAX,
    SIGNALS_PER_CALL_MAX,
)
from dms3.core.multibase import encode_base32
from dms3.crypto.signing import SIGNATURE_BYTES, SigningKey, verify
from dms3.node import dapps_shown as shown
from dms3.node.dapps_names import agent_of, bytes_of, hash_of, hex_of, place_of
from dms3.node.noting import Signal
from dms3.source.capabilities import Give

SIGN_DOMAIN = b"dapp data"
DEBUG_CHARS_MAX = 1_000  # of a line in the log


Call = Callable[[str, Any], Awaitable[Any]]
"""Asks an operation of a machine."""


@dataclass(slots=True)
class Used:
    """What one call, with all that it calls, has asked of the node."""

    asked: int = 0
    signals: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """How deep a call stands in others, and what all of them have `used`."""

    depth: int = 0
    used: Used = field(default_factory=Used)

    def deeper(self) -> Budget:
        """That of a call one further down; raises `limit_reached` when that is too deep."""
        if self.depth >= CALLS_NESTED_MAX:
            raise Dms3Error(
                "limit_reached", f"Calls of calls go {CALLS_NESTED_MAX} deep, not deeper."
            )
        return Budget(self.depth + 1, self.used)


@dataclass(frozen=True, slots=True)
class Ground:
    """The app whose function runs: its DNA, and the key of its agent here.

    `rotated`: told of its next key. `nested`: calls another function of an app ("": of this one);
    `debug`: writes to the log. `proof`: of membership, for entries of kinds that ask for it.
    """

    name: str
    dna: Dna
    key: Callable[[], SigningKey]
    rotated: Callable[[ChainHead], None]
    nested: Callable[[str, str, Any], Awaitable[Any]]
    debug: Callable[[str], None]
    proof: bytes = b""


@dataclass(slots=True)
class HostCall:
    """The host functions of one call; `await host(NAME, ARGUMENTS)`."""

    _call: Call
    ground: Ground
    budget: Budget
    written: list[dict[str, Any]] = field(default_factory=list)
    refused: Dms3Error | None = None
    _bundle: list[Change] | None = None

    async def __call__(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """What host function `name` answers, JSON values; raises Dms3Error."""
        self.budget.used.asked += 1
        if self.budget.used.asked > HOST_CALLS_MAX:
            raise Dms3Error(
                "limit_reached", f"One call may ask the node {HOST_CALLS_MAX} times, not more."
            )
        method = _METHODS.get(name)
        if method is None:
            raise Dms3Error("method_unknown", f"There is no host function {name[:40]!r}.")
        try:
            asked = method(self, **arguments)
        except TypeError as error:  # other arguments than it takes
            raise Dms3Error("argument_invalid", f"{name} was called wrongly: {error}.") from error
        return await asked

    @property
    def unfinished(self) -> bool:
        """Whether a bundle was begun and not closed: nothing of it is written."""
        return self._bundle is not None

    # Writing

    async def commit(self, kind: Any, content: Any, private: Any = False) -> Any:
        """Write a new entry; the hashes of its action and its entry."""
        declared = self.ground.dna.entry_kind(str(kind))
        hidden = bool(private) or (declared is not None and declared.private)
        proof = self.ground.proof
        return await self._write(Change("create", str(kind), content, private=hidden, proof=proof))

    async def update(self, target: Any, content: Any) -> Any:
        """Write what an entry of before says from now on; `target`: its action."""
        action = hash_of(target)
        old = await self._found(action)
        kind, private = old.entry_kind, old.private
        proof = self.ground.proof
        change = Change("update", kind, content, target=action, private=private, proof=proof)
        return await self._write(change)

    async def remove(self, target: Any) -> Any:
        """Say that the entry of an action is no more."""
        return await self._write(Change("delete", target=hash_of(target)))

    async def link(self, base: Any, to: Any, kind: Any, tag: Any = "") -> Any:
        """Link two places."""
        tagged = str(tag).encode()
        change = Change("link", str(kind), base=place_of(base), to=place_of(to), tag=tagged)
        return await self._write(change)

    async def unlink(self, link: Any) -> Any:
        """Take a link back; `link`: its action."""
        return await self._write(Change("unlink", target=hash_of(link)))

    async def bundle_start(self, seconds: Any = None) -> Any:  # noqa: ARG002 - a call has its end
        """From here on changes are gathered."""
        if self._bundle is not None:
            raise Dms3Error("argument_invalid", "A bundle is open already; close it first.")
        self._bundle = []

    async def bundle_close(self, commit: Any = True) -> Any:
        """Write what was gathered, all of it or nothing; or forget it."""
        bundle, self._bundle = self._bundle, None
        if bundle is None:
            raise Dms3Error("argument_invalid", "No bundle is open; bundleStart opens one.")
        if not commit or not bundle:
            return []
        done = await self._commit(bundle)
        return [shown.committed(done, place) for place in range(len(bundle))]

    async def _write(self, change: Change) -> Any:
        if self._bundle is None:
            return shown.committed(await self._commit([change]), 0)
        if len(self._bundle) >= BUNDLE_ACTIONS_MAX:
            raise Dms3Error(
                "limit_reached", f"A bundle holds {BUNDLE_ACTIONS_MAX} changes at most."
            )
        self._bundle.append(change)
        return None

    async def _commit(self, changes: Sequence[Change]) -> Committed:
        asked = Commit(self.ground.dna.id, tuple(changes))
        try:
            done: Committed = await self._call("source.commit", asked)
        except Dms3Error as error:
            self.refused = error
            raise
        self.written += [shown.committed(done, place) for place in range(len(changes))]
        return done

    # Reading

    async def get(self, hash: Any, latest: Any = False, local: Any = False) -> Any:  # noqa: A002
        """What is under a hash, from here or from whoever holds it; None: nothing was found."""
        asked = GetRecord(self.ground.dna.id, hash_of(hash), latest=bool(latest), local=bool(local))
        found: Found | None = await self._call("validation.get", asked)
        return None if found is None else shown.found(found)

    async def get_links(
        self, base: Any, kind: Any = "", tag: Any = "", author: Any = "", limit: Any = 1_000
    ) -> Any:
        """The live links of a place, earliest first."""
        asked = GetLinks(
            self.ground.dna.id,
            place_of(base),
            str(kind),
            str(tag).encode(),
            agent_of(author) if author else b"",
            limit=whole(limit, "limit"),
        )
        links: tuple[LinkRecord, ...] = await self._call("validation.links", asked)
        return [shown.link(one) for one in links]

    async def query(self, kind: Any = "", of: Any = "", after: Any = -1, limit: Any = 100) -> Any:
        """What this agent wrote itself, in order."""
        asked = Query(
            self.ground.dna.id, whole(after, "after"), whole(limit, "limit"), str(kind), str(of)
        )
        records: tuple[Record, ...] = await self._call("source.query", asked)
        return [shown.record(one) for one in records]

    async def activity(self, agent: Any, after: Any = -1, limit: Any = 1_000) -> Any:
        """What an agent did, as the nodes that watch it say."""
        asked = GetActivity(
            self.ground.dna.id,
            agent_of(agent),
            whole(after, "after"),
            limit=whole(limit, "limit"),
        )
        found: Activity = await self._call("validation.activity", asked)
        return shown.activity(found)

    async def published(self, hash: Any) -> Any:  # noqa: A002
        """How far an action of this agent has got."""
        found: Published = await self._call("source.published", hash_of(hash))
        return shown.published(found)

    # Agents

    async def send(
        self, agent: Any, body: Any, function: Any = "", capability: Any = "", seconds: Any = 10
    ) -> Any:
        """Ask the app of another agent: its `receive`, or a function of it."""
        asked = SendTo(
            self.ground.dna.id,
            agent_of(agent),
            str(function),
            body,
            bytes_of(capability, "capability") if capability else b"",
            whole(seconds, "seconds") * SECOND_US,
        )
        return await self._call("source.send", asked)

    async def propose(self, kind: Any, content: Any, parties: Any, seconds: Any = 3_600) -> Any:
        """Ask others to sign an entry together with this agent."""
        if not isinstance(parties, list):
            raise Dms3Error("argument_invalid", "parties is a list of agents.")
        window_us = whole(seconds, "seconds") * SECOND_US
        others = tuple(agent_of(party) for party in parties)
        asked = Propose(self.ground.dna.id, str(kind), content, others, window_us)
        session: Session = await self._call("source.propose", asked)
        return shown.session(session)

    async def accept(self, session: Any) -> Any:
        """Sign what others asked this agent to sign with them."""
        asked = AcceptSession(hex_of(session, "session"))
        return shown.session(await self._call("source.accept", asked))

    async def decline(self, session: Any) -> Any:
        """Do not sign it."""
        identity = hex_of(session, "session")
        return shown.session(await self._call("source.decline", identity))

    async def sessions(self) -> Any:
        """What is being signed together with others."""
        found = await self._call("source.sessions", self.ground.dna.id)
        return [shown.session(one) for one in found]

    async def grant(self, function: Any, access: Any = "transferable", to: Any = None) -> Any:
        """Let a person (their root), or whoever gets the capability, call a function."""
        if (access == "assigned") != (to is not None):
            raise Dms3Error(
                "argument_invalid", "An assigned grant names to whom, another does not."
            )
        reader = None if to is None else Root(agent_of(to))
        asked = Give(self.ground.dna.id, (str(function),), reader)
        return shown.capability(await self._call("source.grant", asked))

    async def revoke(self, grant: Any) -> Any:
        """Take a grant back; whether it was there."""
        return bool(await self._call("source.revoke", hex_of(grant, "grant")))

    async def grants(self) -> Any:
        """Who may call what."""
        found = await self._call("source.grants", self.ground.dna.id)
        return [shown.capability(one) for one in found]

    async def emit(self, name: Any, value: Any = None) -> Any:
        """Tell the page of this app."""
        self.budget.used.signals += 1
        if self.budget.used.signals > SIGNALS_PER_CALL_MAX:
            raise Dms3Error(
                "limit_reached", f"One call may emit {SIGNALS_PER_CALL_MAX} signals, not more."
            )
        size = len(json.dumps([name, value]))
        if size > SIGNAL_BYTES_MAX:
            raise Dms3Error(
                "limit_reached", f"A signal of {size} bytes; at most {SIGNAL_BYTES_MAX} are told."
            )
        signal = Signal(self.ground.name, str(name), value)
        await self._call("noting.signal", signal)

    # This agent

    async def sign(self, data: Any) -> Any:
        """A signature of this agent over `data`, JSON values."""
        _, encoded = _entry_of(data)
        return encode_base32(self.ground.key().sign(SIGN_DOMAIN, encoded))

    async def verify_signature(self, signature: Any, data: Any, key: Any) -> Any:
        """Whether `signature` is that of the agent `key` over `data`."""
        _, encoded = _entry_of(data)
        try:
            given = bytes_of(signature, "signature")
        except Dms3Error:
            return False
        return len(given) == SIGNATURE_BYTES and verify(agent_of(key), SIGN_DOMAIN, encoded, given)

    async def make_hash(self, content: Any) -> Any:
        """The hash that a public entry with this content has."""
        return str(_entry_of(content)[0])

    async def call(self, app: Any, function: Any, arguments: Any = None) -> Any:
        """What another function of this app ("") or of another app of the person returns."""
        return await self.ground.nested(str(app), str(function), arguments or {})

    async def debug(self, values: Any) -> Any:
        """A line in the node's log."""
        text = " ".join(str(value) for value in values) if isinstance(values, list) else ""
        self.ground.debug(text[:DEBUG_CHARS_MAX])

    async def update_agent(self) -> Any:
        """The agent's next key; the chain goes on."""
        head: ChainHead = await self._call("source.rotate", self.ground.dna.id)
        self.ground.rotated(head)
        return encode_base32(head.agent)

    async def migrate(self, to: Any, state: Any = None) -> Any:
        """Close this chain; it goes on in the app `to`."""
        asked = Close(self.ground.dna.id, agent_of(to), state)
        return shown.committed(await self._call("source.close", asked), 0)

    async def _found(self, target: Any) -> Any:
        asked = GetRecord(self.ground.dna.id, target)
        found: Found | None = await self._call("validation.get", asked)
        if found is None:
            raise Dms3Error("not_found", f"Nobody has the action {target}.")
        return found.records[0].signed.action


def _entry_of(content: Any) -> tuple[Any, bytes]:
    try:
        return make_entry(content)
    except ValueError as error:
        raise Dms3Error("argument_invalid", f"{error}.") from error


def whole(value: Any, what: str) -> int:
    """`value` when it is a whole number; raises `argument_invalid`."""
    if type(value) is not int or abs(value) >> 53:
        raise Dms3Error("argument_invalid", f"{what} is a whole number, not {str(value)[:40]!r}.")
    return value


_METHODS: Mapping[str, Callable[..., Awaitable[Any]]] = {
    "commit": HostCall.commit,
    "get": HostCall.get,
    "getLinks": HostCall.get_links,
    "update": HostCall.update,
    "remove": HostCall.remove,
    "link": HostCall.link,
    "unlink": HostCall.unlink,
    "query": HostCall.query,
    "activity": HostCall.activity,
    "published": HostCall.published,
    "send": HostCall.send,
    "sign": HostCall.sign,
    "verifySignature": HostCall.verify_signature,
    "makeHash": HostCall.make_hash,
    "call": HostCall.call,
    "debug": HostCall.debug,
    "bundleStart": HostCall.bundle_start,
    "bundleClose": HostCall.bundle_close,
    "migrate": HostCall.migrate,
    "updateAgent": HostCall.update_agent,
    "grant": HostCall.grant,
    "revoke": HostCall.revoke,
    "grants": HostCall.grants,
    "emit": HostCall.emit,
    "propose": HostCall.propose,
    "accept": HostCall.accept,
    "decline": HostCall.decline,
    "sessions": HostCall.sessions,
}


def known() -> list[str]:
    """The names of all host functions."""
    return sorted(_METHODS)
