"""The same rule says the same everywhere: in a used copy, in another runner, compiled otherwise.

`make long ONLY=ten_thousand` takes 10,000 rules; the default run a few dozen of them.
"""

import json

import pytest

from dms3.chain.sandboxing import Judge
from dms3.core.errors import Dms3Error
from dms3.core.verdict import Abandoned
from dms3.io.runner_cache import RunnerCache
from dms3.io.sandbox_engine import SandboxEngine, _pure
from dms3.io.sandbox_instance import Meter, StoppedError
from dms3.io.sandbox_jobs import judge_text, key_of, verdict_of
from unit.sandbox.generated import bodies
from unit.sandbox.kit import ACTION, ruled

SEED = 20_261_121


def raw(instance, rules, key):
    """What one copy of the runner says, before anybody asks another."""
    text = judge_text(Judge(rules, ACTION, {"text": "hello"}), key)
    try:
        answer = instance.answer(text, rules.fuel, Meter(), _pure)
    except StoppedError as error:
        return Abandoned(error.why)
    return verdict_of(json.loads(answer))


def said(engine, rules):
    """What a new copy says, and what a used one says twice; or why the text is refused."""
    key = key_of(rules)
    try:
        engine.load(rules)
    except Dms3Error as error:
        return [error.message]
    used = engine._ready[key]
    found = [raw(engine._fresh(key, engine._kept[key], Meter()), rules, key)]
    for _ in range(2):
        found.append(raw(used, rules, key))
        if isinstance(found[-1], Abandoned):
            break  # this copy is of no more use
    return found


def check(engines, count, seed):
    print(f"seed {seed}")
    outcomes = {"same": 0, "abandoned": 0, "refused": 0}
    for number, body in enumerate(bodies(seed, count)):
        rules = ruled(body, fuel=100_000_000)
        found = [each for engine in engines for each in said(engine, rules)]
        kinds = {type(each) for each in found}
        where = f"rule {number} of seed {seed}:\n{body}\n{found}"
        if str in kinds:
            assert len(set(found)) == 1, where
            outcomes["refused"] += 1
        elif Abandoned in kinds:
            assert kinds == {Abandoned}, where
            outcomes["abandoned"] += 1
        else:
            assert len(set(found)) == 1, where
            outcomes["same"] += 1
    print(outcomes)
    return outcomes


def test_a_used_copy_says_what_a_new_one_says(engine):
    outcomes = check([engine], 40, SEED)
    assert outcomes["same"] >= 15
    assert outcomes["abandoned"] >= 1


@pytest.mark.long
@pytest.mark.timeout(3_500)
def test_ten_thousand_rules_say_the_same_in_two_runners_and_compiled_in_two_ways(runner):
    again = RunnerCache(variant="-again").make()
    plain = RunnerCache(optimization="none").make()
    assert again.path.read_bytes() != runner.path.read_bytes()
    check([SandboxEngine(each) for each in (runner, again, plain)], 10_000, SEED)
