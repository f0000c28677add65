"""Scenario "repair": a tenth of the nodes dies in every period; what they held is held again.

Source: docs/chains.md, "Repaired". The production machines compare and bring; nobody joins, so the
app shrinks from period to period. No op may be lost, and each has to be held by as many as the rule
asks for again within three periods. Fewer than ten nodes are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from dms3.core.limits import SECOND_US
from dms3.core.neighbourhood import USUAL, Duty
from dms3.sim.scenarios.app_world import AppWorld, HeldOp
from dms3.sim.seeds import stream
from dms3.sim.statement import Statement, require

PERIOD_US = 60 * SECOND_US  # GOSSIP_REST_US: a node compares that often at least
PERIODS = 20
PERIODS_SHORT_MAX = 3
DYING = 10  # one node of so many


class RepairScenario(Statement):
    """`notes` are written, then nodes die for `periods`; the app asks for `duty`."""

    name = "repair"

    def __init__(self, *, notes: int = 40, periods: int = PERIODS, duty: Duty = USUAL) -> None:
        super().__init__()
        self._notes = notes
        self._periods = periods
        self._duty = duty

    def play(self, nodes: int, seed: int, work_us: int) -> None:
        """Kill, wait a period, look; `work_us` has no meaning here."""
        del work_us
        app = AppWorld(seed, nodes, self._duty)
        self.trace = app.world.trace
        app.begin(app.world.nodes, self._notes)
        before = app.held()
        self.figures["ops"] = len(before)
        self.figures["holders_mean"] = _mean_holders(app)
        random = stream(seed, "dying")
        since: dict[bytes, int] = {}  # ops that are short: for how many periods without a loss
        short_max = short_sum = dead = 0
        for _ in range(self._periods):
            living, before_kill = app.world.living(), app.held()
            for node in random.sample(living, len(living) // DYING):
                app.world.kill(node)
                dead += 1
            hit = _hit(before_kill, app)
            app.run(PERIOD_US)
            held = app.held()
            since = {key: 1 + since.get(key, 0) * (key not in hit) for key in _short(app)}
            short_sum += len(since)
            short_max = max([short_max, *since.values()])
            self.figures |= {"killed": dead, "lost": len(before) - len(held)}
            self.figures |= {"periods_short_max": short_max, "short_sum": short_sum}
            self.time_us = app.world.time_us
            require(not self.figures["lost"], f"{self.figures['lost']} ops are lost")
            require(
                short_max < PERIODS_SHORT_MAX,
                f"an op is held by too few after {short_max} periods",
            )
        self.figures["holders_mean_after"] = _mean_holders(app)
        self.figures["requests"] = app.world.requests


def _hit(before: Mapping[bytes, HeldOp], app: AppWorld) -> frozenset[bytes]:
    """The ops that have lost a holder."""
    off = {node.index for node in app.world.nodes if not node.on}
    return frozenset(key for key, op in before.items() if not off.isdisjoint(op.holders))


def _short(app: AppWorld) -> list[bytes]:
    off = {node.index for node in app.world.nodes if not node.on}
    return [
        key
        for key, op in app.held().items()
        if not app.ground.is_enough(op.holders, op.target, off)
    ]


def _mean_holders(app: AppWorld) -> float:
    held = app.held().values()
    return round(sum(len(op.holders) for op in held) / max(1, len(held)), 2)
