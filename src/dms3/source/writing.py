"""The queue of each own chain: build behind the head, sign, have it judged, keep all or nothing.

Source: docs/chains.md, "My chain". One bundle of a chain is on its way at a time, so no two actions
ever have one place; what was judged and is not kept was seen by nobody. Publishing is in
`publishing.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from dms3.chain.action import SignedAction
from dms3.chain.operations import Commit, Committed, Rejected
from dms3.chain.operations_validation import Found, GetRecord, JudgeRecords, Record
from dms3.core.cid import Cid
from dms3.core.desk import Operation
from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.ids import OverlayId, RequestId
from dms3.core.limits import COMMITS_WAITING_MAX, WRITE_TRIES_MAX
from dms3.core.multibase import encode_base32
from dms3.core.verdict import Invalid, Unresolved, Valid, Verdict
from dms3.source.chains import Chain, ChainRow
from dms3.source.drafting import Draft, Known, add_changes, check_commit, targets
from dms3.source.flows import Ask, Flow, answer_or_raise
from dms3.source.grounds import Grounds
from dms3.source.parts import Part
from dms3.source.publishing import Publishing

Records = tuple[Record, ...]
Done = Callable[[Records | Failure], None]
"""Told what was written, once it is durable and readable here; or why nothing was."""


def _nothing(_records: Records) -> None:
    """Nothing else is written with the bundle."""


@dataclass(frozen=True, slots=True)
class Job:
    """A bundle to be written to `chain`: `build` signs it into a draft.

    `refers`: actions that `build` is given. `head`: what the chain must end with, None: anything.
    `session`: the countersigning whose lock it passes. `written` runs in the event that keeps the
    bundle, so what it persists is kept or lost together with it.
    """

    chain: Chain
    build: Callable[[Draft, Known], None]
    refers: tuple[Cid, ...] = ()
    head: Cid | None = None
    session: bytes = b""
    written: Callable[[Records], None] = _nothing


class RefusedError(Dms3Error):
    """A rule refused a bundle; `failure` says which, about what."""

    def __init__(self, failure: Rejected) -> None:
        super().__init__(failure.code, failure.message)
        self.failure = failure


class Writing(Part):
    """The queues; operation "commit"."""

    def __init__(self, grounds: Grounds, publishing: Publishing) -> None:
        """`publishing` has what is kept read here and brings it to others."""
        self._grounds = grounds
        self._publishing = publishing
        self._queues: dict[OverlayId, deque[tuple[Job, Done]]] = {}
        self._running: set[OverlayId] = set()
        self._pumping: set[OverlayId] = set()
        self._locks: dict[OverlayId, tuple[Chain, bytes, Callable[[], None]]] = {}

    def operations(self) -> Mapping[str, Operation]:
        """Commands."""
        return {"commit": self._commit}

    # What other parts use

    def write(self, job: Job, done: Done) -> None:
        """Queue a bundle; raises `limit_reached` when too many wait."""
        overlay = job.chain.overlay
        queue = self._queues.setdefault(overlay, deque())
        if len(queue) >= COMMITS_WAITING_MAX:
            raise Dms3Error(
                "limit_reached",
                f"{len(queue)} commits wait for this chain.",
                hint="Wait for the answers of earlier ones.",
            )
        queue.append((job, done))
        self._pump(overlay)

    def lock(self, chain: Chain, session: bytes, then: Callable[[], None]) -> None:
        """Lock the chain for a countersigning when what is on its way is written; then `then`.

        `then` runs in the event that keeps the lock. Commits that wait come behind it. No other
        session may have the lock, or wait for it.
        """
        if chain.overlay in self._running:
            self._locks[chain.overlay] = (chain, session, then)
            return
        assert not chain.row.lock, "a chain waits for one session at a time"
        chain.lock(session)
        then()

    def unlock(self, chain: Chain) -> None:
        """Let the others write again."""
        chain.lock(b"")
        self._pump(chain.overlay)

    def wake(self, overlay: OverlayId) -> None:
        """The standing of the chain has changed: look at its queue."""
        self._pump(overlay)

    # The queue

    def _pump(self, overlay: OverlayId) -> None:
        """Begin what can be; a loop, since a whole queue may fail at once."""
        if overlay in self._pumping:
            return
        self._pumping.add(overlay)
        while self._begin_next(overlay):
            pass
        self._pumping.discard(overlay)

    def _begin_next(self, overlay: OverlayId) -> bool:
        """Begin the next bundle whose turn it is; whether there was one."""
        queue = self._queues.get(overlay)
        if not queue or overlay in self._running:
            return False
        lock = queue[0][0].chain.row.lock
        turn = next((each for each in queue if not lock or each[0].session == lock), None)
        if turn is None:
            return False
        queue.remove(turn)
        job, done = turn
        self._running.add(overlay)

        def ended(result: Records | Failure) -> None:
            self._running.discard(overlay)
            if isinstance(result, Failure):
                done(result)
            else:
                self._publishing.publish(job.chain, result, done)
            if overlay in self._locks:
                self.lock(*self._locks.pop(overlay))
            self._pump(overlay)

        self._grounds.flows.start(self._write(job), ended)
        return True

    def _write(self, job: Job) -> Flow[Records | Failure]:
        try:
            known = yield from self._known(job)
            for _ in range(WRITE_TRIES_MAX):
                row, draft = self._draft(job, known)
                records = tuple(draft.records)
                asked = JudgeRecords(job.chain.overlay, records)
                answer = yield Ask("validation.judge", asked)
                verdict: Verdict = answer_or_raise(answer)
                if isinstance(verdict, Invalid):
                    records = yield from self._up_to_refused(job.chain, records)
                if job.chain.row is row:
                    self._check(verdict, records)
                    self._keep(job, records)
                    return records
        except RefusedError as rejection:
            self._tell_rejected(job.chain, rejection.failure)
            return rejection.failure
        raise Dms3Error("chain_moved", "The chain changed while this was judged.")

    def _up_to_refused(self, chain: Chain, records: Records) -> Flow[Records]:
        """The bundle up to the first action that is refused: found by halving, as it is judged."""
        good, bad = 0, len(records)
        while bad - good > 1:
            middle = (good + bad) // 2
            asked = JudgeRecords(chain.overlay, records[:middle])
            answer = yield Ask("validation.judge", asked)
            if isinstance(answer, Invalid):
                bad = middle
            else:
                good = middle
        return records[:bad]

    def _known(self, job: Job) -> Flow[dict[Cid, SignedAction]]:
        """The actions that the bundle refers to, own or brought here."""
        known = {}
        for hash_ in job.refers:
            own = self._grounds.shelf.record(hash_)
            if own is not None and own.signed.action.dna == job.chain.overlay:
                known[hash_] = own.signed
                continue
            answer = yield Ask("validation.get", GetRecord(job.chain.overlay, hash_))
            found: Found | None = answer_or_raise(answer)
            signed = () if found is None else tuple(each.signed for each in found.records)
            fits = [each for each in signed if each.hash == hash_]
            if not fits:
                raise Dms3Error(
                    "not_found",
                    f"No action {hash_} is known in this app.",
                    hint="Check the hash; it may lie at a node that cannot be reached now.",
                )
            known[hash_] = fits[0]
        return known

    def _draft(self, job: Job, known: Known) -> tuple[ChainRow, Draft]:
        """The bundle as it is behind the head of now."""
        job.chain.check_writable()
        row = job.chain.row
        if job.head is not None and job.head != row.head:
            raise Dms3Error(
                "chain_moved",
                f"Your chain ends with {row.head}, not with {job.head}.",
                hint="Read the chain again, then commit again.",
            )
        draft = Draft.behind(row, self._grounds.pen(job.chain), self._grounds.desk.now.wall_us)
        job.build(draft, known)
        return row, draft

    def _check(self, verdict: Verdict, records: Records) -> None:
        if isinstance(verdict, Valid):
            return
        if isinstance(verdict, Invalid):
            raise RefusedError(rejected(verdict, records))
        if isinstance(verdict, Unresolved):
            names = ", ".join(each.decode(errors="replace") for each in verdict.missing[:3])
            raise Dms3Error(
                "content_unavailable",
                f"The rules could not be applied: what they read cannot be found ({names}).",
                hint="Try again when more nodes of this app can be reached.",
            )
        raise Dms3Error("content_invalid", f"The rules of the app were stopped: {verdict.reason}.")

    def _keep(self, job: Job, records: Records) -> None:
        """Everything of the bundle and the new head, in one transaction."""
        chain, last = job.chain, records[-1].signed
        for record in records:
            self._grounds.shelf.put(chain.key, record)
            self._publishing.keep_row(chain, record)
        chain.change(
            replace(chain.row, seq=last.action.seq, head=last.hash, time_us=last.action.time_us)
        )
        job.written(records)
        self._grounds.desk.notify(
            "chain.committed",
            app=chain.overlay.hex(),
            agent=last.action.author.hex(),
            seq=last.action.seq,
            actions=[str(each.signed.hash) for each in records],
        )

    def _tell_rejected(self, chain: Chain, failure: Rejected) -> None:
        self._grounds.desk.notify(
            "chain.rejected",
            app=chain.overlay.hex(),
            agent=failure.author.hex(),
            rule=failure.rule,
            detail=failure.detail,
            line=failure.line,
            entry=None if failure.entry is None else str(failure.entry),
        )

    # The command

    def _commit(self, commit: Commit, request: RequestId) -> None:
        check_commit(commit)
        chain = self._grounds.chains.need(commit.overlay)
        dna = self._grounds.app(commit.overlay)

        def done(result: Records | Failure) -> None:
            self._grounds.desk.reply(
                request, result if isinstance(result, Failure) else committed(result)
            )

        def build(draft: Draft, known: Known) -> None:
            add_changes(draft, dna, commit.changes, known)

        chain.check_writable()
        self.write(Job(chain, build, targets(commit.changes), commit.head), done)


def committed(records: Records) -> Committed:
    """The hashes of what was written."""
    return Committed(
        tuple(each.signed.hash for each in records),
        tuple(each.signed.action.entry for each in records),
    )


def rejected(verdict: Invalid, records: Records) -> Rejected:
    """What the author is told of a refusal; the line and the rule stand in the message, too."""
    action = records[-1].signed.action
    where = f"Rule {verdict.rule}" + (f" (line {verdict.line})" if verdict.line else "")
    about = f"entry {action.entry}" if action.entry is not None else f"action {action.kind}"
    return Rejected(
        "content_invalid",
        f"{where} refuses {about} of agent {encode_base32(action.author)[:12]}: {verdict.detail}.",
        Retry.NEVER,
        verdict.rule,
        verdict.detail,
        verdict.line,
        len(records) - 1,
        action.entry,
        action.author,
    )
