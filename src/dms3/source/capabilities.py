"""Capabilities: grants by which somebody else may call functions of an app that are not open.

Source: docs/chains.md, "Capabilities"; `crypto/grant.py` has the one type of grant. An *assigned*
grant names the root of its reader; a *transferable* one the public key of a secret, and whoever
has the secret is the reader. Functions declared unrestricted need none. A grant counts only while
it is in the table of the device that gave it: taking it back is deleting it.

| call | arguments | answer |
|---|---|---|
| `source.grant` | Give | Capability |
| `source.revoke` | serial of a grant | whether it was there |
| `source.grants` | OverlayId, or None: of every app | tuple of Capability, oldest first |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dms3.core.codec import decode, encode, need_at_most
from dms3.core.desk import Operation
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import OverlayId, RequestId, Root, SpaceId, short
from dms3.core.limits import CALL_GRANTS_MAX, CAPABILITY_BYTES_MAX, SPACE_NAME_CHARS_MAX
from dms3.core.machine import View, scan
from dms3.crypto.grant import (
    CALL,
    FOREVER_US,
    SERIAL_BYTES,
    Grant,
    call_right,
    check_grant_dates,
    decode_grant,
    grant_signed,
    issue_grant,
)
from dms3.crypto.signing import SEED_BYTES, SigningKey
from dms3.source.grounds import Grounds
from dms3.source.parts import Part

TABLE = "capabilities"


@dataclass(frozen=True, slots=True)
class Give:
    """Let `reader` call `functions` of the app `overlay`; None: whoever is handed the capability.

    `until_us`: wall clock. `name`: what the person calls it.
    """

    overlay: OverlayId
    functions: tuple[str, ...]
    reader: Root | None = None
    until_us: int = FOREVER_US
    name: str = ""


@dataclass(frozen=True, slots=True)
class Capability:
    """A grant that this device has given; `data` is what the reader shows (`SendTo.capability`).

    `data` of a transferable one (`reader` None) is a secret.
    """

    serial: bytes
    overlay: OverlayId
    functions: tuple[str, ...]
    reader: Root | None
    created_us: int
    until_us: int
    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """A grant, and of a transferable one the secret (32 bytes) whose public key is its reader."""

    v: int
    grant: bytes = field(repr=False)
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.v != 1 or len(self.secret) not in (0, SEED_BYTES):
            raise ValueError("no capability")


@dataclass(frozen=True, slots=True)
class _Row:
    v: int
    token: bytes = field(repr=False)
    name: str


@dataclass(frozen=True, slots=True)
class Who:
    """Who calls a function of the app `overlay`.

    `root`: certified, b"": nobody known. `bearer`: the public key of a secret that the caller has
    shown to have, b"": none.
    """

    overlay: OverlayId
    root: bytes
    bearer: bytes = b""


@dataclass(frozen=True, slots=True)
class Given:
    """What `owner` has given and not taken back, by serial."""

    owner: Root
    grants: Mapping[bytes, Grant]


def allows(given: Given, function: str, who: Who, grant: bytes, wall_us: int) -> Grant:
    """The grant of `given` by which `who` may call `function` at `wall_us`; `grant`: its bytes.

    Raises `grant_missing` (none shown, taken back, not for this function), `grant_invalid` (not
    readable, not the owner's, of another app, given to somebody else), `grant_expired` or
    `not_yet_valid`.
    """
    if not grant:
        raise Dms3Error(
            "grant_missing",
            f"The function {function!r} needs a grant.",
            hint="Ask the person behind the agent for a capability.",
        )
    try:
        shown = decode_grant(grant)
    except DecodeError as error:
        raise Dms3Error("grant_invalid", f"The grant cannot be read: {error.reason}.") from error
    if shown.issuer != given.owner:
        raise Dms3Error("grant_invalid", f"The grant is not of root {short(given.owner)}.")
    if given.grants.get(shown.serial) != shown:
        if not grant_signed(shown):
            raise Dms3Error("grant_invalid", "The signature of the grant does not fit.")
        raise Dms3Error("grant_missing", "The grant was taken back, or another device gave it.")
    if shown.space != who.overlay:
        raise Dms3Error("grant_invalid", "The grant is for another app.")
    if shown.reader not in (who.root, who.bearer):
        raise Dms3Error("grant_invalid", "The grant was given to somebody else.")
    check_grant_dates(shown, wall_us)
    if call_right(function) not in shown.rights:
        raise Dms3Error("grant_missing", f"The grant does not let you call {function!r}.")
    return shown


def decode_token(data: bytes) -> Token:
    """The capability in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, CAPABILITY_BYTES_MAX, "a capability")
    return decode(Token, data, strict=True)


class Capabilities(Part):
    """Grants that this device has given."""

    def __init__(self, grounds: Grounds) -> None:
        self._desk = grounds.desk
        self._root = grounds.root_key
        self._entropy = grounds.entropy
        self._given: dict[bytes, Capability] = {}
        self._grants: dict[bytes, Grant] = {}

    def operations(self) -> Mapping[str, Operation]:
        """grant, revoke, grants."""
        return {"grant": self._give, "revoke": self._revoke, "grants": self._list}

    def load(self, view: View) -> None:
        """Read the table."""
        for _, data in scan(view, TABLE):
            row = decode(_Row, data)
            self._add(decode_token(row.token), row.token, row.name)

    @property
    def given(self) -> Given:
        """What `allows` is to look at."""
        return Given(Root(self._root.public), self._grants)

    def _give(self, wanted: Give, request: RequestId) -> None:
        wall_us = self._desk.now.wall_us
        if len(wanted.name) > SPACE_NAME_CHARS_MAX:
            raise Dms3Error(
                "argument_invalid", f"A name has at most {SPACE_NAME_CHARS_MAX} characters."
            )
        self._make_room(wall_us)
        secret = b"" if wanted.reader is not None else self._entropy.draw(SEED_BYTES)
        reader = wanted.reader
        if reader is None:
            reader = Root(SigningKey.of_seed(secret).public)
        try:
            grant = issue_grant(
                self._root,
                SpaceId(wanted.overlay),
                reader,
                [call_right(name) for name in wanted.functions],
                (wall_us, wanted.until_us),
                self._entropy.draw(SERIAL_BYTES),
            )
        except ValueError as error:
            raise Dms3Error("argument_invalid", f"No such grant can be given: {error}.") from error
        token = Token(1, encode(grant), secret)
        data = encode(token)
        capability = self._add(token, data, wanted.name)
        self._desk.persist(TABLE, grant.serial, encode(_Row(1, data, wanted.name)))
        self._desk.reply(request, capability)

    def _revoke(self, serial: bytes, request: RequestId) -> None:
        self._desk.reply(request, self._remove(serial))

    def _list(self, overlay: OverlayId | None, request: RequestId) -> None:
        found = [each for each in self._given.values() if overlay in (None, each.overlay)]
        found.sort(key=lambda each: (each.created_us, each.serial))
        self._desk.reply(request, tuple(found))

    def _add(self, token: Token, data: bytes, name: str) -> Capability:
        grant = decode_grant(token.grant)
        capability = Capability(
            grant.serial,
            OverlayId(grant.space),
            tuple(right.removeprefix(CALL) for right in grant.rights),
            None if token.secret else Root(grant.reader),
            grant.created_us,
            grant.until_us,
            name,
            data,
        )
        self._given[grant.serial] = capability
        self._grants[grant.serial] = grant
        return capability

    def _remove(self, serial: bytes) -> bool:
        if self._given.pop(serial, None) is None:
            return False
        del self._grants[serial]
        self._desk.delete(TABLE, serial)
        return True

    def _make_room(self, wall_us: int) -> None:
        """What has expired goes; when that is not enough the person has to choose."""
        if len(self._given) < CALL_GRANTS_MAX:
            return
        for serial in [key for key, each in self._given.items() if each.until_us <= wall_us]:
            self._remove(serial)
        if len(self._given) >= CALL_GRANTS_MAX:
            raise Dms3Error(
                "limit_reached",
                f"{CALL_GRANTS_MAX} grants to call functions are given.",
                hint="Take back what is no longer needed.",
            )
