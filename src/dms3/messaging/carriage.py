"""Asking all own delivery services, taking a new one on, and leaving one without losing anything.

Source: docs/architecture.md, "Messages". The profile lists a service only after that service has
taken the profile, and no longer after everything that waited there was fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dms3.core.desk import Desk, words
from dms3.core.errors import DecodeError, Dms3Error, Failure, Retry
from dms3.core.limits import MAIL_FETCH_WAIT_US, MAIL_LEAVE_WAIT_US
from dms3.dm3.lookup import Resolve, Resolved
from dms3.dm3.naming import normalise
from dms3.messaging.carriers import Carriers
from dms3.messaging.fetching import Fetching
from dms3.messaging.inbox import Inbox
from dms3.messaging.keyring import Keyring
from dms3.messaging.operations import CarrierState, Register
from dms3.messaging.ports import DIRECT
from dms3.messaging.selfhood import Selfhood

Told = Callable[[Any], None]
"""Told what a command answers, or a Failure."""

_LEAVE_LOOK_US = 200_000


class Carriage:
    """All own services, by name."""

    def __init__(
        self, desk: Desk, keyring: Keyring, self_: Selfhood, inbox: Inbox, carriers: Carriers
    ) -> None:
        self._desk = desk
        self._keyring = keyring
        self._self = self_
        self._inbox = inbox
        self._carriers = carriers
        self._fetching: dict[str, Fetching] = {}
        self._waits = 0

    def follow(self) -> None:
        """Ask those that are listed now, and those left not long ago; no others."""
        asked = self._carriers.asked()
        self._inbox.holding.asked(asked)
        for name in list(self._fetching):
            if name not in asked:
                self._fetching.pop(name).end()
        for name in asked:
            if name not in self._fetching:
                self._add(name).look()

    def refresh(self) -> None:
        """The profile has changed."""
        for fetching in list(self._fetching.values()):
            fetching.refresh()

    def hurry(self) -> None:
        """The machine slept or moved: ask all now."""
        self._inbox.holding.woke()
        for fetching in list(self._fetching.values()):
            fetching.look()

    def states(self) -> tuple[CarrierState, ...]:
        """How each is."""
        return tuple(fetching.state for fetching in self._fetching.values())

    def arrived(self, name: str) -> None:
        """A service has pushed something."""
        fetching = self._fetching.get(name)
        if fetching is not None:
            fetching.look()

    def fetch(self, then: Told) -> None:
        """Ask every service once; `then` is told how many new messages came.

        After MAIL_FETCH_WAIT_US at the latest; a Failure when no service could be asked.
        """
        self._inbox.holding.hurry()
        every = list(self._fetching.values())
        failures: list[Failure] = []
        new, left, told = 0, len(every), [False]
        self._waits += 1
        alarm = f"fetch:{self._waits}"

        def over() -> None:
            if told[0]:
                return
            told[0] = True
            self._desk.no_alarm(alarm)
            if failures and len(failures) == len(every):
                then(failures[0])
            else:
                then(new)

        def looked(body: int | Failure) -> None:
            nonlocal new, left
            left -= 1
            if isinstance(body, Failure):
                failures.append(body)
            else:
                new += body
            if not left:
                over()

        if not every:
            over()
            return
        self._desk.after(alarm, MAIL_FETCH_WAIT_US, over)
        for fetching in every:
            fetching.look(looked)

    # One more, one less

    def carry(self, name: str, then: Told) -> None:
        """Use the service `name` from now on, when it answers and takes the profile."""
        self._self.when_named(lambda _: self._carry(name, then))

    def _carry(self, text: str, then: Told) -> None:
        try:
            name = normalise(text)
        except DecodeError as error:
            then(Failure("argument_invalid", f"{text!r} is no name: {error.reason}."))
            return

        def resolved(body: Resolved | Failure) -> None:
            if isinstance(body, Failure):
                then(body)
            elif body.service is None or body.service.url.startswith(DIRECT):
                why = f"{name} is no delivery service that takes messages for others."
                then(Failure("argument_invalid", why))
            else:
                register(body.service.url)

        def register(url: str) -> None:
            assert self._self.names is not None
            profile = self._self.profile(also=name)
            wanted = Register(url, self._self.names.primary, profile)
            self._desk.call("courier.register", wanted, registered)

        def registered(body: Any) -> None:
            if isinstance(body, Failure):
                why = f"{name} does not take your profile: {words(body)}. Nothing was changed."
                then(Failure(body.code, why, body.retry))
                return
            try:
                self._carriers.add(name, direct=False)
            except Dms3Error as error:
                then(Failure.of(error))
                return
            self.follow()
            self._fetching[name].look(lambda _: then(self._fetching_state(name)))

        self._desk.call("names.resolve", Resolve(name), resolved)

    def _fetching_state(self, name: str) -> CarrierState | Failure:
        fetching = self._fetching.get(name)
        if fetching is None:
            return Failure("cancelled", f"{name} was left meanwhile.")
        return fetching.state

    def uncarry(self, text: str, then: Told) -> None:
        """Leave the service `text`, after everything there was fetched and acknowledged."""
        name = _canonical(text)
        fetching = self._fetching.get(name)
        if fetching is None or not self._carriers.uses(name):
            then(Failure("not_found", f"{text} carries none of your messages."))
            return

        def looked(body: int | Failure) -> None:
            if isinstance(body, Failure):
                why = (
                    f"What waits at {name} could not be fetched: {words(body)}. It still carries "
                    "your messages; leave it when it answers."
                )
                then(Failure(body.code, why, Retry.LATER))
            else:
                self._leave(name, fetching, self._desk.now.mono_us + MAIL_LEAVE_WAIT_US, then)

        fetching.look(looked)

    def _leave(self, name: str, fetching: Fetching, until_us: int, then: Told) -> None:
        """When nothing waits to be acknowledged any more."""
        problem = fetching.state.problem
        if fetching.unfinished or problem:
            if self._desk.now.mono_us < until_us:
                self._waits += 1
                self._desk.after(
                    f"leave:{self._waits}",
                    _LEAVE_LOOK_US,
                    lambda: self._leave(name, fetching, until_us, then),
                )
                return
            why = (
                f"{fetching.unfinished} messages at {name} are not yet where all your devices "
                f"read them. {problem} It still carries your messages; leave it later."
            )
            then(Failure("timed_out", why, Retry.LATER))
            return
        self._carriers.remove(name)
        then(None)

    def _add(self, name: str) -> Fetching:
        fetching = Fetching(
            name,
            self._desk,
            self._keyring,
            self._self,
            self._inbox,
            lambda: not self._carriers.uses(name),
        )
        self._fetching[name] = fetching
        return fetching


def _canonical(name: str) -> str:
    try:
        return normalise(name)
    except DecodeError:
        return name
