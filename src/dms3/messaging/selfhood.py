"""Who this person is to others: own names, and the signed profile that says how to write to them.

Source: docs/architecture.md, "Messages"; dm3 specification, "Registry". The profile is composed
here, signed by the account, and made known by machine "names". Who carries is `carriers.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dms3.core.desk import Desk
from dms3.core.errors import DecodeError, Failure
from dms3.core.limits import (
    DM3_SERVICES_MAX,
    MAIL_NAMES_US,
    MAIL_PUBLISH_AGAIN_US,
)
from dms3.dm3.lookup import OwnNames, Published, PublishProfile, Resolved
from dms3.dm3.naming import normalise
from dms3.dm3.profile import SignedProfile, UserProfile
from dms3.messaging.keyring import Keyring
from dms3.messaging.ports import Own


class Selfhood:
    """`services` says which names the profile lists; `on_names` is told when own names change."""

    def __init__(self, desk: Desk, own: Own, keyring: Keyring) -> None:
        self._desk = desk
        self._own = own
        self._keyring = keyring
        self.services: Callable[[], Sequence[str]] = lambda: ()
        self.on_names: Callable[[], None] = lambda: None
        self.names: OwnNames | None = None
        self._waiting: list[Callable[[OwnNames], None]] = []
        self._asking = False
        self._signed: SignedProfile | None = None
        self._published = ""  # the text of the profile that names know

    def start(self) -> None:
        """Ask for the own names; again from time to time, as one may be claimed."""
        if not self._asking:
            self._asking = True
            self._desk.call("names.own", None, self._named)

    def when_named(self, then: Callable[[OwnNames], None]) -> None:
        """Do `then` when the own names are known, at once when they are."""
        if self.names is not None:
            then(self.names)
        else:
            self._waiting.append(then)

    def is_called(self, name: str) -> bool:
        """Whether `name` is one of mine."""
        if self.names is None:
            return False
        try:
            return normalise(name) in self.names.names
        except DecodeError:
            return False

    def is_me(self, resolved: Resolved) -> bool:
        """Whether the root behind a name is mine; of a name without one, the account.

        Whoever has a root can say that it has my account, and pass on to me what it was sent.
        """
        if resolved.root:
            return resolved.root == self._own.root
        return bool(resolved.address) and resolved.address.lower() == self._own.address.lower()

    @property
    def service_name(self) -> str:
        """The name of this node as a delivery service, "" when it is not known yet."""
        return "" if self.names is None else self.names.service_name

    def profile(self, without: str = "", also: str = "") -> SignedProfile:
        """The profile as it is now, or with one service less or more."""
        listed = [name for name in (*self.services(), also) if name and name != without]
        keys = self._keyring.current
        profile = UserProfile(
            tuple(dict.fromkeys(listed))[:DM3_SERVICES_MAX],
            keys.encryption_public,
            keys.signing_public,
        )
        if self._signed is None or self._signed.profile != profile:
            self._signed = self._own.sign(profile)
        return self._signed

    def publish(self) -> None:
        """Make the profile known, unless it is."""
        if self.names is None:
            return
        profile = self.profile()
        if profile.text() == self._published:
            return
        wanted = profile.text()

        def answered(body: Published | Failure) -> None:
            if isinstance(body, Failure):
                self._desk.after("publish", MAIL_PUBLISH_AGAIN_US, self.publish)
            else:
                self._published = wanted

        self._desk.call("names.publish", PublishProfile(profile, self._own.service), answered)

    def _named(self, body: OwnNames | Failure) -> None:
        self._asking = False
        self._desk.after("names", MAIL_NAMES_US, self.start)
        if isinstance(body, Failure) or body == self.names:
            return
        self.names = body
        self._published = ""
        self.on_names()
        self.publish()
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(body)
