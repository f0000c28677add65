"""A simulated network that falls apart again and again: no coin of its bank is lost.

    python examples/simulate_partition.py [SEED]

Machines and driver are those of a real node; time, network and disks are simulated. Equal seeds
give equal runs, so a run that goes wrong can be looked at as often as it takes.
"""

import sys

from dms3.core.limits import SECOND_US
from dms3.sim.faults import FaultPlan
from dms3.sim.scenario import Outcome, Setting, run
from dms3.sim.scenarios.bank import BankScenario

NODES = 8
PLAN = FaultPlan(
    partition_every_us=2 * SECOND_US,  # on average
    partition_for_us=SECOND_US,
    crash_every_us=SECOND_US,
    loss_per_million=20_000,
)


def simulate(seed: int) -> Outcome:
    """Ten virtual seconds of transfers between all nodes, then peace until all work is done."""
    return run(BankScenario(), Setting(NODES, seed, work_us=10 * SECOND_US, plan=PLAN))


def main() -> None:
    """Run once and say what happened."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    outcome = simulate(seed)
    figures = outcome.figures
    print(
        f"seed {seed}: {figures['partitions']} partitions, {figures['crashes']} crashes, "
        f"{figures['done']} of {figures['transfers']} transfers done, {figures['money']} coins"
    )
    if not outcome.ok:
        print(*outcome.last_events, sep="\n")
        sys.exit(f"violation: {outcome.violation}")


if __name__ == "__main__":
    main()
