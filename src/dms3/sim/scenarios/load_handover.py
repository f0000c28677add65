"""Scenario "handover": half of the nodes of an app leave and as many come; who is far lets go.

Source: docs/growth.md, "When half of the nodes change"; docs/chains.md, "Repaired". The production
machines compare, bring and drop: an op is dropped by a node that lies too far, after receipts of
those nearer. Who holds what is read from the disks, who is to hold it is said by the rule.
"""

from __future__ import annotations

from dms3.core.limits import HOLDERS_SLACK, SECOND_US
from dms3.core.neighbourhood import Duty
from dms3.sim.measures import mean
from dms3.sim.scenarios.app_world import OPS, AppWorld
from dms3.sim.seeds import stream
from dms3.sim.statement import Statement, require

WAVES = 3
WAVE_US = 120 * SECOND_US  # two periods: what has lost holders is given new ones
REST_US = 360 * SECOND_US  # what lies far is dropped after two periods and some questions
DUTY = Duty(3, 4, 8)  # so that a small app has nodes that are not to hold everything


class HandoverScenario(Statement):
    """`notes` are written before; the app asks for `duty`."""

    name = "handover"

    def __init__(self, *, notes: int = 10, duty: Duty = DUTY) -> None:
        super().__init__()
        self._notes = notes
        self._duty = duty

    def play(self, nodes: int, seed: int, work_us: int) -> None:
        """Write, let half of the nodes change, wait, look; `work_us` has no meaning here."""
        del work_us
        half = nodes // 2
        app = AppWorld(seed, nodes + half, self._duty, newcomers=half)
        self.trace = app.world.trace
        before, coming = app.world.nodes[:nodes], app.world.nodes[nodes:]
        app.begin(before, self._notes)
        ops = app.held()
        self.figures |= {"ops": len(ops), **_stored("", app)}
        leaving = stream(seed, "leaving").sample(before, half)
        for wave in range(WAVES):
            for node in leaving[wave::WAVES]:
                app.world.kill(node)
            if coming[wave::WAVES]:
                app.crowd(coming[wave::WAVES])
            app.run(WAVE_US)
        self.figures |= _stored("_changing", app)
        app.run(REST_US)
        self.time_us = app.world.time_us
        lost = len(ops.keys() - app.held().keys())
        self.figures |= {"lost": lost, "short": app.short(), **_stored("_after", app)}
        held, most = self.figures["stored_mean_after"], self.figures["stored_most_after"]
        require(not lost, f"{lost} ops are lost")
        require(held <= most, f"a node holds {held} ops, more than {most}")


def _stored(when: str, app: AppWorld) -> dict[str, float]:
    """What a node holds, and n (q + slack) / m with q as the rule asks for."""
    living = app.world.living()
    off = {node.index for node in app.world.nodes if not node.on}
    ops = app.held().values()
    asked = mean([len(app.ground.holders(op.target, off)) for op in ops])
    held = mean([len(node.disk.table(OPS)) for node in living])
    return {
        f"holders_mean{when}": round(asked, 3),
        f"stored_mean{when}": round(held, 3),
        f"stored_expected{when}": round(len(ops) * asked / len(living), 3),
        f"stored_most{when}": round(len(ops) * (asked + HOLDERS_SLACK) / len(living), 3),
    }
