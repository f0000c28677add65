"""Messages between people under every fault; see sim/scenarios/mail.py."""

import pytest

from dms3.core.limits import SECOND_US
from dms3.messaging import inbox
from dms3.sim.run import SCENARIOS
from dms3.sim.scenario import Outcome, Setting, messages, run
from dms3.sim.scenarios.mail import MailScenario
from dms3.sim.scenarios.mail_world import Tables

NODES = 5
WORK_US = 60 * SECOND_US


def mail(seed: int) -> tuple[Outcome, MailScenario]:
    scenario = MailScenario()
    outcome = run(scenario, Setting(NODES, seed, WORK_US, scenario.plan(seed), messages))
    print(seed, outcome.figures)
    return outcome, scenario


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 11])
def test_every_message_arrives_once_and_nothing_stays_at_a_service(seed):
    outcome, scenario = mail(seed)
    assert outcome.ok, outcome.violation
    assert outcome.figures["promised"] == len(scenario.promised) > 0
    assert outcome.figures["waiting"] == 0


def test_equal_seeds_give_equal_runs():
    assert mail(7)[0].trace == mail(7)[0].trace


def test_it_is_among_the_scenarios():
    assert SCENARIOS["mail"] is MailScenario


def test_a_mailbox_that_acknowledges_too_early_is_caught(monkeypatch):
    def early(self, arrival, opened, record, when, information):
        del record, when, information
        arrival.settled(inbox.Outcome(inbox.Verdict.NEW))
        self._finish(arrival, opened.message.sender)

    monkeypatch.setattr(inbox.Inbox, "_keep", early)
    outcome, _ = mail(5)
    assert not outcome.ok


def test_tables_that_keep_twice_are_caught(monkeypatch):
    real = Tables._keep

    def twice(self, one):
        self.arrivals.append(one.hash)
        return real(self, one)

    monkeypatch.setattr(Tables, "_keep", twice)
    outcome, _ = mail(5)
    assert "came twice" in outcome.violation
