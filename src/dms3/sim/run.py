"""What `dms3 sim run` does: one seeded run, its figures as lines, and a way to repeat a failure.

Source: docs/architecture.md, "Tests"; the shape of the last line is part of the interface.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from dms3.core.errors import Dms3Error
from dms3.core.limits import SECOND_US, SIM_MESH_NODES_MAX, SIM_NODES_MAX
from dms3.sim.bytes_network import over_bytes
from dms3.sim.scenario import NetworkOf, Scenario, Setting, messages, run
from dms3.sim.scenarios.apps import APPS
from dms3.sim.scenarios.bank import BankScenario
from dms3.sim.scenarios.churn import ChurnScenario
from dms3.sim.scenarios.devices import DevicesScenario
from dms3.sim.scenarios.lookup import LookupScenario
from dms3.sim.scenarios.mail import MailScenario
from dms3.sim.scenarios.statements import STATEMENTS
from dms3.sim.statement import Statement
from dms3.sim.wiring import Mesh

SCENARIOS: dict[str, Callable[[], Scenario | Statement]] = {
    "bank": BankScenario,
    "lookup": LookupScenario,
    "churn": ChurnScenario,
    "devices": DevicesScenario,
    "mail": MailScenario,
    **APPS,
    **STATEMENTS,
}
FIDELITIES: dict[str, NetworkOf] = {"messages": messages, "bytes": over_bytes}

Emit = Callable[[dict[str, Any]], None]


def run_scenario(
    name: str,
    nodes: int,
    seed: int,
    minutes: float | None,
    emit: Emit,
    *,
    fidelity: str = "messages",
) -> bool:
    """Run scenario `name` once and `emit` its lines; the result is whether everything held.

    `minutes`: virtual time during which work arrives and faults strike; None: as long as the
    scenario usually takes. `fidelity`: "messages", or
    "bytes" for up to fifty nodes through frames, streams and encryption. Raises Dms3Error
    `argument_invalid` for an unknown scenario or a number out of range.
    """
    _check_names(name, fidelity)
    scenario = SCENARIOS[name]()
    minutes = scenario.minutes_default if minutes is None else minutes
    _check_sizes(scenario, nodes, minutes, fidelity)
    plan = scenario.plan(seed)
    emit({"scenario": name, "nodes": nodes, "seed": seed, "faults": plan.named()})
    setting = Setting(nodes, seed, int(minutes * 60 * SECOND_US), plan, FIDELITIES[fidelity])
    begun = time.process_time()
    begins = scenario.run if isinstance(scenario, Statement) else partial(run, scenario)
    outcome = begins(setting)
    seconds = time.process_time() - begun
    if not outcome.ok:
        for line in outcome.last_events:
            emit({"event": line})
        command = f"dms3 sim run {name} --nodes {nodes} --seed {seed} --minutes {minutes:g}"
        if fidelity != "messages":
            command += f" --fidelity {fidelity}"
        emit({"violation": outcome.violation, "replay": command})
    last: dict[str, Any] = {
        "ok": outcome.ok,
        "scenario": name,
        "nodes": nodes,
        "seed": seed,
        "trace": outcome.trace,
        "fidelity": fidelity,
        "events": outcome.events,
        "virtual_seconds": outcome.virtual_us // SECOND_US,
        "events_per_second": int(outcome.events / max(seconds, 0.001)),
        **outcome.figures,
    }
    emit(last)
    return outcome.ok


def _check_names(name: str, fidelity: str) -> None:
    for what, given, known in (("scenario", name, SCENARIOS), ("fidelity", fidelity, FIDELITIES)):
        if given not in known:
            raise Dms3Error(
                "argument_invalid",
                f"There is no {what} {given[:64]!r}.",
                hint=f"Try: {', '.join(known)}",
            )


def _check_sizes(scenario: Scenario | Statement, nodes: int, minutes: float, fidelity: str) -> None:
    most = SIM_NODES_MAX[fidelity]
    if isinstance(scenario, Statement):
        if fidelity != "messages":
            why = f"A statement such as {scenario.name!r} is not run over {fidelity}."
            raise Dms3Error("argument_invalid", why)
    elif scenario.wiring is Mesh:
        most = min(most, SIM_MESH_NODES_MAX)
    if not 2 <= nodes <= most:
        raise Dms3Error("argument_invalid", f"--nodes is {nodes}; 2 to {most} can be run.")
    if not 0 < minutes <= 24 * 60:
        raise Dms3Error(
            "argument_invalid",
            f"--minutes is {minutes:g}; it must be more than 0 and at most {24 * 60}.",
        )
