"""Machine "fetch": brings content here by its CID, from peers that granted it or in public.

Source: docs/wire.md, "/dms3/block/1"; docs/attacks.md. Starts, resumes and ends jobs, and knows
which contents are private, so that nobody else is asked for them; the fetch itself is
`search/job.py`. A block that does not match its CID is never kept, and its sender is
penalised and asked no more. Whom to ask is known to `search/sharing.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from dms3.core.cid import Cid
from dms3.core.codec import decode, encode
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import OverlayId, PeerId, RequestId, SpaceId, Token
from dms3.core.limits import (
    FETCH_BANNED_MAX,
    FETCH_PATIENCE_US_MAX,
    FETCH_PROGRESS_US,
    FETCH_RESUME_PATIENCE_US,
    FETCH_WAITERS_MAX,
    FETCHES_MAX,
    PRIVATE_CIDS_MAX,
)
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Cancel,
    Delete,
    Effect,
    Event,
    Notify,
    Now,
    PeerDown,
    PeerUp,
    Persist,
    Reply,
    View,
    Withdrawn,
    scan,
)
from dms3.core.overlay import PUBLIC
from dms3.search import job as part
from dms3.search.job import Job
from dms3.search.operations import WRONG_BLOCK, AwaitBlock, Fetch, Fetched, Penalty
from dms3.search.operations_public import FoundIn
from dms3.search.publicways import PublicPorts, PublicWays
from dms3.search.suppliers import OVERLAY

NAME = "fetch"
JOBS, PRIVATE = "jobs", "private"
_PENALTY_PREFIX = "penalise:"


@dataclass(frozen=True, slots=True)
class _Record:
    """A job that goes on after a restart."""

    v: int
    space: bytes | None


class Fetching:
    """The machine; `operations.py` lists its operations. It speaks no protocol of its own."""

    def __init__(self, ports: PublicPorts | None = None) -> None:
        """`ports`: for public content, None: nothing is ever asked for in public."""
        self._ports = ports
        self._remotes: dict[PeerId, str] = {}  # where the connected peers are
        self._private: dict[Cid, bytes] = {}  # -> network, or b"" by a grant; oldest first
        self._jobs: dict[int, Job] = {}
        self._by_root: dict[Cid, Job] = {}
        self._banned: dict[PeerId, None] = {}
        self._now = Now(0, 0)
        self._count = 0

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Go on with every unfinished job; nobody waits for it any more."""
        self._now = now
        effects: list[Effect] = []
        for key, overlay in scan(view, PRIVATE):
            self._private[Cid(key)] = overlay
        for key, data in scan(view, JOBS):
            space = decode(_Record, data).space
            fetch = Fetch(Cid(key), None if space is None else SpaceId(space))
            job = self._begin(fetch, now, resumed=True)
            effects += job.ask_sources(now) + job.go_on(now)
        return effects

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Commands, answers, connections."""
        self._now = now
        if isinstance(event, Called):
            return self._called(event, now)
        if isinstance(event, Answered):
            return self._answered(event, now)
        if isinstance(event, Withdrawn):
            return self._withdrawn(event.request)
        if isinstance(event, PeerUp):
            self._remotes[event.peer] = event.address
            return self._peer_up(event.peer, now)
        if isinstance(event, PeerDown):
            self._remotes.pop(event.peer, None)
            for job in self._jobs.values():
                job.suppliers.peer_down(event.peer)
            return self._go_on_all(now)
        return []

    def on_timer(self, now: Now) -> list[Effect]:
        """Jobs whose patience is over, whose suppliers are free again, or who need new ones."""
        self._now = now
        effects: list[Effect] = []
        for job in list(self._jobs.values()):
            if job.last_block_us + job.patience_us <= now.mono_us:
                effects += self._end(job, _impatient(job))
            else:
                effects += job.ask_sources(now) if job.starving(now) else []
                effects += self._go_on(job, now)
        return effects

    def next_timer(self) -> int | None:
        """The earliest of all jobs."""
        due = [job.next_timer(self._now) for job in self._jobs.values()]
        return min(due) if due else None

    # Commands

    def _called(self, event: Called, now: Now) -> list[Effect]:
        operations: dict[str, Callable[[Any, RequestId, Now], list[Effect]]] = {
            "fetch": self._fetch,
            "block": self._block,
            "cancel": self._cancel,
            "jobs": self._list,
            "private": self._note_private,
            "in_network": self._note_network,
        }
        operation = operations.get(event.operation)
        if operation is None:
            message = f"fetch has no operation {event.operation!r}."
            return [Reply(event.request, Failure("method_unknown", message))]
        try:
            return operation(event.arguments, event.request, now)
        except Dms3Error as error:
            return [Reply(event.request, Failure.of(error))]

    def _fetch(self, fetch: Fetch, request: RequestId, now: Now) -> list[Effect]:
        if not 0 < fetch.patience_us <= FETCH_PATIENCE_US_MAX:
            raise Dms3Error("argument_invalid", "The patience of a fetch is up to one hour.")
        job = self._by_root.get(fetch.root)
        if job is not None:
            if len(job.callers) >= FETCH_WAITERS_MAX:
                raise Dms3Error("limit_reached", "Too many wait for this content.")
            job.join(request, fetch.patience_us, now)
            return job.ask_sources(now) + self._go_on(job, now)
        if len(self._jobs) >= FETCHES_MAX:
            raise Dms3Error("limit_reached", f"{FETCHES_MAX} fetches are under way.")
        job = self._begin(fetch, now, resumed=False)
        job.join(request, fetch.patience_us, now)
        record = _Record(1, fetch.space)
        persist: Effect = Persist(JOBS, fetch.root.binary, encode(record))
        return [persist, *job.ask_sources(now), *job.go_on(now)]

    def _block(self, wanted: AwaitBlock, request: RequestId, _: Now) -> list[Effect]:
        job = self._by_root.get(wanted.root)
        if job is None:
            raise Dms3Error("not_found", f"{wanted.root} is not being fetched.")
        if sum(len(requests) for requests in job.waiting.values()) >= FETCH_WAITERS_MAX:
            raise Dms3Error("limit_reached", "Too many wait for blocks of this content.")
        return job.wait_for(wanted.cid, request)

    def _cancel(self, root: Cid, request: RequestId, _: Now) -> list[Effect]:
        job = self._by_root.get(root)
        if job is None:
            return [Reply(request, False)]
        ended = self._end(job, Failure("cancelled", f"The fetch of {root} was cancelled."))
        return [*ended, Reply(request, True)]

    def _list(self, _: None, request: RequestId, __: Now) -> list[Effect]:
        return [Reply(request, tuple(job.progress() for job in self._jobs.values()))]

    def _note_private(self, cids: tuple[Cid, ...], request: RequestId, _: Now) -> list[Effect]:
        return [*self._keep_private(cids), Reply(request, None)]

    def _note_network(self, found: FoundIn, request: RequestId, _: Now) -> list[Effect]:
        return [*self._keep_private(found.cids, found.overlay), Reply(request, None)]

    def _keep_private(self, cids: Iterable[Cid], overlay: bytes = b"") -> list[Effect]:
        """Never ask for these in public: a grant led to them, or a network has them."""
        effects: list[Effect] = []
        for cid in cids:
            held = self._private.get(cid)
            if held is not None and (held == overlay or not overlay):
                continue
            self._private.pop(cid, None)
            if len(self._private) >= PRIVATE_CIDS_MAX:
                oldest = next(iter(self._private))
                del self._private[oldest]
                effects.append(Delete(PRIVATE, oldest.binary))
            self._private[cid] = overlay
            effects.append(Persist(PRIVATE, cid.binary, overlay))
        return effects

    def _withdrawn(self, request: RequestId) -> list[Effect]:
        """A caller no longer waits; with the last one its job ends (what came is kept)."""
        for job in list(self._jobs.values()):
            caller = request in job.callers
            if job.forget(request):
                if caller and not job.callers and not job.resumed:
                    message = f"The fetch of {job.root} was cancelled."
                    return self._end(job, Failure("cancelled", message))
                return []
        return []

    # Answers and connections

    def _answered(self, event: Answered, now: Now) -> list[Effect]:
        if event.token.startswith(_PENALTY_PREFIX):
            return []
        number, kind = event.token.split(":")[:2]
        job = self._jobs.get(int(number))
        if job is None:
            return []
        try:
            effects = self._take(job, kind, event, now)
        except Dms3Error as error:
            return self._end(job, Failure.of(error))
        if job.complete:
            return effects + self._end(job, None)
        return effects + self._go_on(job, now) + self._note(job, now)

    def _take(self, job: Job, kind: str, event: Answered, now: Now) -> list[Effect]:
        token, body = event.token, event.body
        if kind == part.SOURCES:
            job.take_sources(body, self._banned)
            return []
        if kind == part.LOOK:
            return job.take_look(token, body)
        if kind == part.LOAD:
            return job.take_load(token, body)
        if kind == part.KEEP:
            return job.take_kept(body)
        if kind == part.WAIT:
            return job.take_wait(token, body)
        return self._take_from_outside(job, kind, event, now)

    def _take_from_outside(self, job: Job, kind: str, event: Answered, now: Now) -> list[Effect]:
        token, body = event.token, event.body
        if kind == part.PROVIDERS:
            return job.take_providers(body, now)
        if kind == part.DIAL:
            job.take_dial(int(token.split(":")[2]), body, self._banned)
            return []
        return self._take_block(job, token, body, now)

    def _take_block(self, job: Job, token: Token, body: Any, now: Now) -> list[Effect]:
        was_granted = job.granted
        liar = job.take_block(token, body, now)
        effects: list[Effect] = []
        if job.granted:
            fresh = [] if was_granted else [job.root]
            effects = self._keep_private([*fresh, *job.take_names()])
        elif job.ways is not None and job.ways.overlay != PUBLIC:
            effects = self._keep_private(job.take_names(), job.ways.overlay)
        if liar is None or liar == OVERLAY:
            return effects
        return effects + self._ban(liar[0])

    def _ban(self, peer: PeerId) -> list[Effect]:
        """A peer sent bytes that are not the block they claim to be: never ask it again."""
        if len(self._banned) >= FETCH_BANNED_MAX:
            del self._banned[next(iter(self._banned))]
        self._banned[peer] = None
        for job in self._jobs.values():
            job.suppliers.ban(peer)
        self._count += 1
        penalty = Penalty(peer, WRONG_BLOCK)
        return [Call("peers.conduct", penalty, Token(f"{_PENALTY_PREFIX}{self._count}"))]

    def _peer_up(self, peer: PeerId, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for job in self._jobs.values():
            job.suppliers.peer_up(peer)
            effects += job.ask_sources(now)
        return effects

    # Jobs

    def _begin(self, fetch: Fetch, now: Now, *, resumed: bool) -> Job:
        self._count += 1
        job = Job(
            number=self._count,
            root=fetch.root,
            space=fetch.space,
            patience_us=FETCH_RESUME_PATIENCE_US if resumed else fetch.patience_us,
            resumed=resumed,
            last_block_us=now.mono_us,
            ways=self._ways(fetch),
        )
        self._jobs[job.number] = job
        self._by_root[job.root] = job
        return job

    def _ways(self, fetch: Fetch) -> PublicWays | None:
        """How to ask in public, or in a network; None for what a grant led to: that reveals it."""
        if self._ports is None or fetch.space is not None:
            return None
        overlay = self._private.get(fetch.root, PUBLIC)
        if not overlay:
            return None
        return PublicWays(fetch.root, self._ports, self._remotes, OverlayId(overlay))

    def _go_on_all(self, now: Now) -> list[Effect]:
        return [effect for job in list(self._jobs.values()) for effect in self._go_on(job, now)]

    def _go_on(self, job: Job, now: Now) -> list[Effect]:
        effects = job.go_on(now)
        failure = job.stuck()
        return effects if failure is None else effects + self._end(job, failure)

    def _end(self, job: Job, failure: Failure | None) -> list[Effect]:
        """Forget the job and tell everybody; the record goes in the same transaction."""
        del self._jobs[job.number]
        del self._by_root[job.root]
        body = Fetched(job.root, job.blocks, job.size) if failure is None else failure
        data: dict[str, Any] = {"root": str(job.root), "blocks": job.blocks, "bytes": job.size}
        if failure is None:
            notice = Notify("fetch.done", data)
        else:
            notice = Notify("fetch.failed", data | {"code": failure.code})
        cancels = [Cancel(token) for token in job.tokens()]
        return [*cancels, Delete(JOBS, job.root.binary), notice, *job.replies(body)]

    def _note(self, job: Job, now: Now) -> list[Effect]:
        """A progress event, not too often."""
        if job.number not in self._jobs or not job.blocks:
            return []
        if now.mono_us < job.noted_us + FETCH_PROGRESS_US:
            return []
        job.noted_us = now.mono_us
        data = {"root": str(job.root), "blocks": job.blocks, "bytes": job.size, "total": job.total}
        return [Notify("fetch.progress", data)]


def _impatient(job: Job) -> Failure:
    seconds = job.patience_us // 1_000_000
    return Failure(
        "content_unavailable",
        f"No block of {job.root} came for {seconds} s; {job.blocks} are kept. "
        "Fetch it again when its owner's node is connected: it goes on where it stopped.",
    )
