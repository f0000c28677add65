"""What a person's app wants to change becomes actions: places in the chain, entries, signatures.

Source: docs/chains.md, "My chain". Pure: the head, the time, random bytes and what is referred to
are arguments. Whether the rules allow it is for machine "validation".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dms3.chain.action import VERSION, Action, SignedAction, sign_action
from dms3.chain.agent import AgentPlace, issue_agent
from dms3.chain.dna import Dna
from dms3.chain.entry import SALT_BYTES, make_entry, seal_private
from dms3.chain.operations import Change, Commit
from dms3.chain.operations_validation import Record
from dms3.core.cid import Cid
from dms3.core.errors import Dms3Error
from dms3.core.limits import BUNDLE_ACTIONS_MAX, COMMIT_BYTES_MAX
from dms3.core.machine import Entropy
from dms3.crypto.signing import SigningKey
from dms3.source.chains import ChainRow

Known = Mapping[Cid, SignedAction]
"""The actions that changes refer to, by hash."""


@dataclass(frozen=True, slots=True)
class Pen:
    """Who writes: `signing` the agent's key, `root` the person, `sealing` a key from the words."""

    signing: SigningKey
    root: bytes
    sealing: bytes = field(repr=False)
    entropy: Entropy


@dataclass(slots=True)
class Draft:
    """Records being written behind a head; each is signed as it is added."""

    pen: Pen
    dna: bytes
    seq: int
    prev: Cid | None
    time_us: int
    records: list[Record] = field(default_factory=list)

    @classmethod
    def behind(cls, row: ChainRow, pen: Pen, wall_us: int) -> Draft:
        """What comes next in the chain: never dated before its head, wherever the clock went."""
        return cls(pen, row.overlay, row.seq, row.head, max(wall_us, row.time_us))

    def add(self, kind: str, data: bytes | None = None, /, **fields: Any) -> SignedAction:
        """Sign the next action, with the bytes of its entry and the fields of its kind.

        Raises `argument_invalid` for what no action can be.
        """
        try:
            action = Action(
                VERSION,
                self.dna,
                self.pen.signing.public,
                self.pen.root,
                self.seq + 1,
                self.prev,
                self.time_us,
                kind,
                **fields,
            )
            signed = sign_action(self.pen.signing, action)
        except ValueError as error:
            raise Dms3Error("argument_invalid", f"This cannot be written: {error}.") from error
        self.seq, self.prev = action.seq, signed.hash
        self.records.append(Record(signed, data))
        return signed


def genesis(draft: Draft, proof: bytes, place: AgentPlace, root_key: SigningKey) -> None:
    """The first three actions: which app, the membrane proof, whose key."""
    draft.add("dna")
    draft.add("proof", proof=proof)
    draft.add("agent", certificate=issue_agent(root_key, place, draft.time_us))


def targets(changes: Sequence[Change]) -> tuple[Cid, ...]:
    """The actions that `changes` refer to, each once."""
    return tuple(dict.fromkeys(each.target for each in changes if each.target is not None))


def check_commit(commit: Commit) -> None:
    """Raise `argument_invalid` for a bundle of no or too many changes."""
    if not 0 < len(commit.changes) <= BUNDLE_ACTIONS_MAX:
        raise Dms3Error(
            "argument_invalid",
            f"A commit has 1 to {BUNDLE_ACTIONS_MAX} changes, not {len(commit.changes)}.",
            hint="Write more in several commits.",
        )


def add_changes(draft: Draft, dna: Dna, changes: Sequence[Change], known: Known) -> None:
    """Sign an action for each change; raises `argument_invalid`."""
    size = 0
    for change in changes:
        _WRITERS[change.of](draft, dna, change, known)
        size += len(draft.records[-1].entry or b"")
        if size > COMMIT_BYTES_MAX:
            raise Dms3Error(
                "argument_invalid",
                f"The entries of one commit have more than {COMMIT_BYTES_MAX} bytes.",
                hint="Write them in several commits.",
            )


def state_entry(state: Any) -> tuple[dict[str, Cid], bytes | None]:
    """What moves along when a chain is closed or opened, as an entry: fields and bytes."""
    if state is None:
        return {}, None
    hash_, data = _made(state)
    return {"entry": hash_}, data


def _create(draft: Draft, dna: Dna, change: Change, _known: Known) -> None:
    fields, data = _entry_fields(draft, dna, change, change.kind)
    proof = change.proof if dna.gates.of_kind(change.kind) is not None else b""
    draft.add("create", data, proof=proof, **fields)


def _update(draft: Draft, dna: Dna, change: Change, known: Known) -> None:
    target = _with_entry(change, known)
    kind = change.kind or target.action.entry_kind
    fields, data = _entry_fields(draft, dna, change, kind)
    fields |= {"target": target.hash, "target_entry": target.action.entry}
    proof = change.proof if dna.gates.of_kind(kind) is not None else b""
    draft.add("update", data, proof=proof, **fields)


def _delete(draft: Draft, _dna: Dna, change: Change, known: Known) -> None:
    target = _with_entry(change, known)
    draft.add("delete", target=target.hash, target_entry=target.action.entry)


def _link(draft: Draft, dna: Dna, change: Change, _known: Known) -> None:
    if dna.link_kind(change.kind) is None:
        raise _no_kind("link", change.kind, [each.name for each in dna.links])
    draft.add("link", base=change.base, to=change.to, link_kind=change.kind, tag=change.tag)


def _unlink(draft: Draft, _dna: Dna, change: Change, known: Known) -> None:
    target = _target(change, known)
    if target.action.kind != "link":
        raise Dms3Error("argument_invalid", f"{target.hash} is no link, but {target.action.kind}.")
    draft.add("unlink", base=target.action.base, target=target.hash)


_WRITERS: dict[str, Callable[[Draft, Dna, Change, Known], None]] = {
    "create": _create,
    "update": _update,
    "delete": _delete,
    "link": _link,
    "unlink": _unlink,
}


def _entry_fields(
    draft: Draft, dna: Dna, change: Change, name: str
) -> tuple[dict[str, Any], bytes]:
    kind = dna.entry_kind(name)
    if kind is None:
        raise _no_kind("entry", name, [each.name for each in dna.entries])
    if change.private and not kind.private:
        raise Dms3Error(
            "argument_invalid",
            f"Entries of kind {name!r} are public in app {dna.name!r}.",
            hint="Choose a kind that its DNA declares private.",
        )
    salt = draft.pen.entropy.draw(SALT_BYTES) if kind.private else b""
    hash_, data = _made(change.content, salt)
    fields: dict[str, Any] = {"entry": hash_, "entry_kind": name}
    if kind.private:
        sealed = seal_private(draft.pen.sealing, hash_, data)[0]
        fields |= {"private": True, "sealed": sealed}
    return fields, data


def _made(content: Any, salt: bytes = b"") -> tuple[Cid, bytes]:
    try:
        return make_entry(content, salt)
    except ValueError as error:
        raise Dms3Error("argument_invalid", f"This cannot be an entry: {error}.") from error


def _target(change: Change, known: Known) -> SignedAction:
    if change.target is None:
        raise Dms3Error("argument_invalid", f"To {change.of} takes the action it is about.")
    return known[change.target]


def _with_entry(change: Change, known: Known) -> SignedAction:
    target = _target(change, known)
    if target.action.entry is None or target.action.kind not in ("create", "update", "countersign"):
        what = f"{target.hash} has no entry that one could {change.of}: it is {target.action.kind}."
        raise Dms3Error("argument_invalid", what)
    return target


def _no_kind(what: str, name: str, names: list[str]) -> Dms3Error:
    known = ", ".join(names) or "none"
    return Dms3Error(
        "argument_invalid", f"The app has no {what} kind {name!r}.", hint=f"Its kinds are: {known}."
    )
