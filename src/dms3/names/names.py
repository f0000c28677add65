"""Machine "names": who a dm3 name is, which names are this person's, and making them known.

Source: docs/names.md; `dm3/lookup.py` lists the operations and their types. One look-up at a time
for each name; the steps of a look-up are in `finding.py`, those of own names in `own.py`. Topics:
name.changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import RequestId
from dms3.core.limits import (
    NAME_AGAIN_US,
    NAME_SHORT_US_MAX,
    NAME_SHORT_US_MIN,
    NAMES_LOOKUPS_MAX,
    NAMES_WAITERS_MAX,
    NAMES_WAITING_MAX,
)
from dms3.core.machine import (
    Answered,
    Called,
    ClockJumped,
    Effect,
    Event,
    Notify,
    Now,
    PeerUp,
    Reply,
    View,
    Withdrawn,
)
from dms3.core.overlay import HOLDERS_MIN
from dms3.dm3.lookup import Published, PublishProfile, Resolve
from dms3.names.cache import Cache
from dms3.names.finding import ContactOf, Finding
from dms3.names.forms import Form, form_of
from dms3.names.own import Own, Owner
from dms3.names.pins import Pins
from dms3.names.steps import Runner, Steps, Work

NAME = "names"


@dataclass(slots=True, eq=False)
class _Lookup:
    """Who waits for one name; `work` None: it waits for its turn."""

    form: Form
    fresh: bool
    waiters: list[RequestId] = field(default_factory=list)
    work: Work | None = None


class Names:
    """The machine of the person `owner`; `contact_of` reads the peer book's answers."""

    def __init__(self, owner: Owner, contact_of: ContactOf) -> None:
        self._runner = Runner()
        self._own = Own(owner)
        self._pins = Pins()
        self._cache = Cache()
        self._finding = Finding(
            self._cache, self._pins, contact_of, self._own.record_of, lambda: self._runner.now
        )
        self._lookups: dict[tuple[Form, bool], _Lookup] = {}
        self._queue: deque[_Lookup] = deque()
        self._running = 0
        self._looking = False
        self._putting = False
        self._publishers: list[RequestId] = []  # of the put under way
        self._next: list[RequestId] = []  # of the one after it
        self._due_us: int | None = None
        self._pause_us = NAME_SHORT_US_MIN
        self._few = True
        self._operations: dict[str, Callable[[Any, RequestId], list[Effect]]] = {
            "resolve": self._resolve,
            "own": self._tell_own,
            "publish": self._publish,
            "claim": self._claim,
            "add": self._add,
            "use": self._use,
            "drop": self._drop,
            "forget": self._forget,
        }

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Read own names, and put their records soon."""
        self._runner.now = now
        self._own.load(view)
        self._pins.load(view)
        self._schedule(NAME_SHORT_US_MIN)
        return []

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Questions, answers; a new peer may be one that can hold our records."""
        self._runner.now = now
        match event:
            case Called(operation, arguments, request):
                return self._called(operation, arguments, request)
            case Answered(token, body):
                return self._runner.answered(token, body)
            case Withdrawn(request):
                return self._withdrawn(request)
            case PeerUp() | ClockJumped():
                if self._few or isinstance(event, ClockJumped):
                    self._schedule(NAME_SHORT_US_MIN)
        return []

    def on_timer(self, now: Now) -> list[Effect]:
        """Own records that are due, and a turn of whatever works in slices."""
        self._runner.now = now
        effects = self._runner.on_timer()
        if self._due_us is not None and self._due_us <= now.mono_us and not self._putting:
            effects += self._put(renew=True)
        return effects

    def next_timer(self) -> int | None:
        """The earlier of the two."""
        due = None if self._putting else self._due_us
        return min((us for us in (self._runner.next_timer(), due) if us is not None), default=None)

    # Questions

    def _called(self, name: str, arguments: Any, request: RequestId) -> list[Effect]:
        operation = self._operations.get(name)
        if operation is None:
            why = f"names has no operation {name!r}."
            return [Reply(request, Failure("method_unknown", why))]
        try:
            return operation(arguments, request)
        except Dms3Error as error:
            return [Reply(request, Failure.of(error))]

    def _resolve(self, wanted: Resolve, request: RequestId) -> list[Effect]:
        form = form_of(wanted.name)
        key = (form, wanted.fresh)
        lookup = self._lookups.get(key)
        if lookup is not None:
            if len(lookup.waiters) >= NAMES_WAITERS_MAX:
                raise Dms3Error("limit_reached", f"Too many wait for {wanted.name} already.")
            lookup.waiters.append(request)
            return []
        if len(self._queue) >= NAMES_WAITING_MAX:
            raise Dms3Error("limit_reached", "Too many names are being looked up.")
        lookup = self._lookups[key] = _Lookup(form, wanted.fresh, [request])
        self._queue.append(lookup)
        return self._look()

    def _look(self) -> list[Effect]:
        """Begin as many look-ups as may go on at once.

        One that ends at once, by the cache, comes back here: the loop goes on, not one level deeper
        for each of a crowd that waits.
        """
        effects: list[Effect] = []
        if self._looking:
            return effects
        self._looking = True
        while self._queue and self._running < NAMES_LOOKUPS_MAX:
            lookup = self._queue.popleft()
            self._running += 1
            steps = self._finding.find(lookup.form, fresh=lookup.fresh)
            lookup.work, more = self._runner.start(steps, self._found(lookup))
            effects += more
        self._looking = False
        return effects

    def _found(self, lookup: _Lookup) -> Callable[[Any, Now], list[Effect]]:
        def found(result: Any, _: Now) -> list[Effect]:
            self._running -= 1
            self._lookups.pop((lookup.form, lookup.fresh), None)
            effects: list[Effect] = [Reply(each, _body(result)) for each in lookup.waiters]
            return effects + self._look()

        return found

    def _withdrawn(self, request: RequestId) -> list[Effect]:
        """Nobody waits: a look-up goes on, as its answer is kept; one that has not begun ends."""
        for waiting in (self._publishers, self._next):
            if request in waiting:
                waiting.remove(request)
        for key, lookup in list(self._lookups.items()):
            if request in lookup.waiters:
                lookup.waiters.remove(request)
                if not lookup.waiters and lookup.work is None and lookup in self._queue:
                    self._queue.remove(lookup)
                    del self._lookups[key]
                break
        return []

    def _tell_own(self, _: None, request: RequestId) -> list[Effect]:
        return [Reply(request, self._own.names)]

    def _claim(self, name: str, request: RequestId) -> list[Effect]:
        return self._change(self._own.claim(name, self._finding, self._runner.now), request)

    def _add(self, name: str, request: RequestId) -> list[Effect]:
        return self._change(self._own.add(name, self._finding), request)

    def _change(self, steps: Steps, request: RequestId) -> list[Effect]:
        """Answer with what comes of `steps`; own names may be others afterwards."""
        before = self._own.names

        def done(result: Any, _: Now) -> list[Effect]:
            self._schedule(NAME_AGAIN_US)
            return [*self._told(before), Reply(request, _body(result))]

        _, effects = self._runner.start(steps, done)
        return effects

    def _use(self, name: str, request: RequestId) -> list[Effect]:
        before = self._own.names
        effects = self._own.use(name)
        return [*effects, *self._told(before), Reply(request, self._own.names)]

    def _drop(self, name: str, request: RequestId) -> list[Effect]:
        before = self._own.names
        effects = self._own.drop(name)
        return [*effects, *self._told(before), Reply(request, self._own.names)]

    def _forget(self, text: str, request: RequestId) -> list[Effect]:
        name = text.strip().lower()
        effects = self._pins.forget(name)
        self._cache.forget(name)
        return [*effects, Reply(request, bool(effects))]

    def _told(self, before: Any) -> list[Effect]:
        """An event, when own names are others than `before`."""
        names = self._own.names
        if names == before:
            return []
        return [Notify("name.changed", {"primary": names.primary, "names": list(names.names)})]

    # Own records

    def _publish(self, wanted: PublishProfile, request: RequestId) -> list[Effect]:
        effects = self._own.keep(wanted)
        self._next.append(request)
        return effects if self._putting else effects + self._put(renew=False)

    def _put(self, *, renew: bool) -> list[Effect]:
        """Put everything now; the schedule goes on from its end."""
        self._due_us = None
        if not self._own.has_records:
            return []
        self._putting = True
        self._publishers, self._next = self._next, []
        before = self._own.names

        def placed(result: Any, _: Now) -> list[Effect]:
            self._putting = False
            replies: list[Effect] = [Reply(each, _body(result)) for each in self._publishers]
            self._publishers = []
            holders = result.holders if isinstance(result, Published) else 0
            self._few = holders < HOLDERS_MIN
            self._pause_us = min(2 * self._pause_us, NAME_SHORT_US_MAX)
            if not self._few:
                self._pause_us = NAME_SHORT_US_MIN
            self._schedule(self._pause_us if self._few else NAME_AGAIN_US)
            more = self._put(renew=False) if self._next else self._check()
            return [*self._told(before), *replies, *more]

        _, effects = self._runner.start(self._own.put(self._runner.now, renew=renew), placed)
        return effects

    def _check(self) -> list[Effect]:
        """See whether claimed names are still the person's."""
        before = self._own.names
        steps = self._own.look_after(self._finding)
        _, effects = self._runner.start(steps, lambda _, __: self._told(before))
        return effects

    def _schedule(self, pause_us: int) -> None:
        """Put own records after `pause_us` at the latest."""
        due_us = self._runner.now.mono_us + pause_us
        self._due_us = due_us if self._due_us is None else min(self._due_us, due_us)


def _body(result: Any) -> Any:
    return Failure.of(result) if isinstance(result, Dms3Error) else result
