"""Scenario "flash": a crowd joins an app at once and leaves; what is held stays where it is.

Source: docs/chains.md, "Repaired"; the oscillation that other networks have seen when a node's duty
follows its neighbours at once. Six of ten nodes come, stay for some periods and are gone. A move is
a node that takes an op or drops it: none does so more than twice when the crowd comes, nor when it
goes.
"""

from __future__ import annotations

from collections import Counter

from dms3.core.limits import SECOND_US
from dms3.core.neighbourhood import USUAL, Duty
from dms3.sim.scenarios.app_world import OPS, AppWorld
from dms3.sim.statement import Statement, require

CROWD = 0.6  # of all nodes
STAY_US = 180 * SECOND_US  # three periods
LOOK_US = 10 * SECOND_US
MOVES_MAX = 2


class FlashScenario(Statement):
    """`notes` are written before; the app asks for `duty`."""

    name = "flash"

    def __init__(self, *, notes: int = 10, duty: Duty = USUAL) -> None:
        super().__init__()
        self._notes = notes
        self._duty = duty
        self._moves: Counter[tuple[int, bytes]] = Counter()  # of each node and op
        self._before: dict[int, frozenset[bytes]] = {}

    def play(self, nodes: int, seed: int, work_us: int) -> None:
        """Let the crowd come, wait, let it go, wait; `work_us` has no meaning here."""
        del work_us
        first = nodes - round(CROWD * nodes)
        app = AppWorld(seed, nodes, self._duty, newcomers=nodes - first)
        self.trace = app.world.trace
        stayers, crowd = app.world.nodes[:first], app.world.nodes[first:]
        app.begin(stayers, self._notes)
        ops = app.held()
        self._look(app)
        app.crowd(crowd)
        self._wait(app)
        self.figures = {"ops": len(ops), "crowd": len(crowd), "short_with_crowd": app.short()}
        self.figures |= self._moved("coming", len(ops))
        for node in crowd:
            app.world.kill(node)
        self._wait(app)
        self.time_us = app.world.time_us
        self.figures |= self._moved("going", len(ops))
        self.figures |= {"lost": len(ops.keys() - app.held().keys()), "short_after": app.short()}
        require(not self.figures["lost"], f"{self.figures['lost']} ops are lost")
        require(not self.figures["short_after"], "ops are held by too few when the crowd has gone")

    def _moved(self, event: str, ops: int) -> dict[str, float]:
        """The moves since the last event, which is over."""
        moves, self._moves = self._moves, Counter()
        most = max(moves.values(), default=0)
        require(most <= MOVES_MAX, f"a node has taken or dropped one op {most} times ({event})")
        per_op = round(moves.total() / max(1, ops), 2)
        return {f"moves_per_op_{event}": per_op, f"moves_max_{event}": most}

    def _wait(self, app: AppWorld) -> None:
        until_us = app.world.time_us + STAY_US
        while app.world.time_us < until_us:
            app.run(LOOK_US)
            self._look(app)

    def _look(self, app: AppWorld) -> None:
        """Count what has changed since the last look; that a node has gone is no move."""
        for node in app.world.living():
            held = frozenset(node.disk.table(OPS))
            if self._before:
                for key in sorted(held ^ self._before.get(node.index, frozenset())):
                    self._moves[node.index, key] += 1
            self._before[node.index] = held
