"""Scenario "bank": transfers between all nodes; no coin is lost, made or paid twice.

Source: docs/architecture.md, "Tests". The machine is in `sim/bank.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from random import Random
from typing import Any

from dms3.core.codec import decode
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId
from dms3.core.limits import SECOND_US
from dms3.core.machine import Entropy, Send
from dms3.core.ports import Action, AskPeer, ReplyPeer
from dms3.node.inbox import Hosted, Overflow
from dms3.sim.bank import ACCOUNT, PAY, RUMOUR, Account, Bank, Outgoing, Payment, Rumour
from dms3.sim.checkers import Checker, ViolationError
from dms3.sim.scenario import Scenario
from dms3.sim.seeds import stream
from dms3.sim.world import Build, SimNode, World

OPENING = 1_000
TRANSFERS_PER_NODE_SECOND = 10


class BankScenario(Scenario):
    """Arguments: `opening`, the balance of every account; `amount_max`, of one transfer."""

    name = "bank"

    def __init__(self, opening: int = OPENING, amount_max: int = OPENING) -> None:
        self._opening = opening
        self._amount_max = amount_max
        self._checker = BankChecker(opening)
        self._accepted = 0
        self._refused = 0
        self._unfinished_until_us = 0

    def build(self) -> Build:
        """One bank per node."""

        def machines(_index: int, _peers: Sequence[PeerId], _entropy: Entropy) -> list[Hosted]:
            protocols = {PAY: Overflow.HOLD, RUMOUR: Overflow.DROP_OLDEST}
            return [Hosted("bank", Bank(self._opening), protocols)]

        return machines

    def checkers(self) -> Sequence[Checker]:
        """Conservation, and no word broken by a crash."""
        return [self._checker]

    def begin(self, world: World, until_us: int) -> None:
        """Every node's owner makes transfers at random moments."""
        self._unfinished_until_us = until_us
        random = stream(world.seed, "work")
        for node in world.nodes:
            world.at(self._pause(random), self._transfer, world, node, random)

    def finished(self, world: World) -> bool:
        """Whether every transfer has been acknowledged to its sender."""
        if world.time_us < self._unfinished_until_us:
            return False
        return not any(node.disk.table("bank/out") for node in world.nodes)

    def figures(self, world: World) -> dict[str, Any]:
        """Counts of transfers and of what happened to them."""
        accounts = [account_of(node, self._opening) for node in world.nodes]
        balances = " ".join(str(account.balance) for account in accounts)
        return {
            "balances": hashlib.sha256(balances.encode()).hexdigest()[:16],
            "accepted": self._accepted,
            "refused": self._refused,
            "transfers": sum(account.next for account in accounts),
            "done": sum(account.done for account in accounts),
            "money": sum(account.balance for account in accounts),
            "commits": sum(node.disk.commits for node in world.nodes),
        }

    def _pause(self, random: Random) -> int:
        return random.randrange(1, 2 * SECOND_US // TRANSFERS_PER_NODE_SECOND)

    def _transfer(self, world: World, node: SimNode, random: Random) -> None:
        if world.time_us > self._unfinished_until_us:
            return
        world.at(world.time_us + self._pause(random), self._transfer, world, node, random)
        to = random.choice(world.peers)
        amount = random.randrange(1, self._amount_max)

        def done(body: object) -> None:
            if isinstance(body, Failure):
                self._refused += 1
            else:
                self._accepted += 1

        try:
            world.record(node.index, "transfer", b"%d" % amount)
            if to != node.peer:
                node.call("bank.transfer", (to, amount), done)
        except Dms3Error as error:
            if error.code not in ("node_unreachable", "limit_reached"):
                raise
            self._refused += 1


class BankChecker(Checker):
    """Looks at committed state only: it is what a crash leaves."""

    def __init__(self, opening: int) -> None:
        self._opening = opening
        self._seen: dict[int, bytes | None] = {}  # node -> account bytes last looked at
        self._sent: dict[int, dict[int, bytes]] = {}  # node -> number -> body it has sent
        self._credited: dict[int, set[bytes]] = {}  # node -> keys it has acknowledged
        self._rumoured: dict[int, int] = {}  # node -> transfers it has called done
        self._keys: dict[tuple[int, int], bytes] = {}  # (node, wire) -> key of that question

    def touched(self, node: SimNode) -> None:
        """No account below zero."""
        stored = node.disk.get("bank/account", ACCOUNT)
        if stored is not self._seen.get(node.index):
            self._seen[node.index] = stored
            if account_of(node, self._opening).balance < 0:
                raise ViolationError(f"node {node.index} owes money")

    def asked(self, node: SimNode, peer: PeerId, body: bytes, wire: int) -> None:
        """Remember which payment the question `wire` to `node` is about."""
        number = decode(Payment, body).number
        self._keys[node.index, wire] = peer + number.to_bytes(8, "big")

    def said(self, node: SimNode, action: Action) -> None:
        """Remember what the node has told others; it may never contradict itself."""
        if isinstance(action, AskPeer):
            payment = decode(Payment, action.body)
            before = self._sent.setdefault(node.index, {}).setdefault(payment.number, action.body)
            if before != action.body:
                raise ViolationError(f"node {node.index} sent two transfers {payment.number}")
        elif isinstance(action, ReplyPeer):
            key = self._keys.pop((node.index, action.wire), None)
            if key is not None and action.body == b"ok":
                self._credited.setdefault(node.index, set()).add(key)
        elif isinstance(action, Send):
            done = decode(Rumour, action.body).done
            self._rumoured[node.index] = max(done, self._rumoured.get(node.index, 0))

    def restarted(self, node: SimNode) -> None:
        """What the disk holds must agree with everything the node has ever said."""
        self._keep_word(node)
        self.sweep(node.world)

    def sweep(self, world: World) -> None:
        """Money is in an account or under way, never both and never neither."""
        total = 0
        for node in world.nodes:
            total += account_of(node, self._opening).balance
            for key, value in node.disk.table("bank/out").items():
                outgoing = decode(Outgoing, value)
                receiver = world.by_peer[PeerId(outgoing.to)]
                if node.peer + key not in receiver.disk.table("bank/in"):
                    total += outgoing.amount
        expected = self._opening * len(world.nodes)
        if total != expected:
            raise ViolationError(f"there are {total} coins instead of {expected}")

    def quiet(self, world: World) -> None:
        """Every transfer is done, and every account agrees with what was said."""
        for node in world.nodes:
            self._keep_word(node)
            account = account_of(node, self._opening)
            if account.done != account.next:
                raise ViolationError(
                    f"node {node.index}: {account.done} of {account.next} are done"
                )

    def _keep_word(self, node: SimNode) -> None:
        account = account_of(node, self._opening)
        if account.done < self._rumoured.get(node.index, 0):
            raise ViolationError(f"node {node.index} forgot transfers it has called done")
        credited = node.disk.table("bank/in")
        for key in sorted(self._credited.get(node.index, ())):
            if key not in credited:
                raise ViolationError(f"node {node.index} acknowledged a transfer and lost it")
        mine = self._sent.get(node.index, {})
        for key, value in node.disk.table("bank/out").items():
            number, outgoing = int.from_bytes(key, "big"), decode(Outgoing, value)
            sent = mine.get(number)
            if sent is not None and decode(Payment, sent).amount != outgoing.amount:
                raise ViolationError(f"node {node.index} remembers another transfer {number}")
        if mine and max(mine) >= account.next:
            raise ViolationError(f"node {node.index} sent transfer {max(mine)} and forgot it")


def account_of(node: SimNode, opening: int) -> Account:
    """The committed account of a node; one that is new has `opening`."""
    stored = node.disk.get("bank/account", ACCOUNT)
    return Account(opening) if stored is None else decode(Account, stored)
