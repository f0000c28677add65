"""Every decoder meets bytes that are not what they claim to be: it returns or raises DecodeError.

Collects `FUZZ = {name: callable taking bytes}` and `SEEDS = {name: [valid sample, ...]}` from
tests/property/fuzz_*.py. 100,000 inputs a decoder, 1,000,000 in `make long`. Those that take 25 us
or more an input are in its `SLOW = {name, ...}`: 10,000, and as many as the others in `make long`.
`COUNTS = {name: (inputs, reason)}` lowers both for what costs much more than a decoder does.
DMS3_FUZZ_SEED chooses another stream of inputs; a failure prints the input and how to replay it.
"""

import os
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

from dms3.core.errors import DecodeError

HERE = Path(__file__).parent
INPUTS = 100_000
INPUTS_SLOW = 10_000
INPUTS_LONG = 1_000_000
SEED = int(os.environ.get("DMS3_FUZZ_SEED", "1"))
ACCEPTED_KEPT = 64  # accepted mutants become samples: they reach deeper than the given ones


def load(path: Path) -> ModuleType:
    spec = util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses of the module look themselves up here
    spec.loader.exec_module(module)
    return module


mutation = load(HERE / "mutation.py")


@dataclass(frozen=True)
class Target:
    """One decoder with its samples and the number of inputs it gets in `make test`, `make long`."""

    name: str
    decode: Callable[[bytes], object]
    samples: list[bytes]
    inputs: int
    inputs_long: int


def targets() -> list[Target]:
    found = []
    for path in sorted(HERE.glob("fuzz_*.py")):
        module = load(path)
        counts, slow = getattr(module, "COUNTS", {}), getattr(module, "SLOW", set())
        assert set(module.FUZZ) == set(module.SEEDS), f"{path.name}: FUZZ and SEEDS differ"
        assert {*counts, *slow} <= set(module.FUZZ), f"{path.name}: an unknown decoder is named"
        assert not slow & set(counts), f"{path.name}: both SLOW and COUNTS"
        for name, decode in sorted(module.FUZZ.items()):
            inputs, reason = counts.get(name, (INPUTS, "full"))
            assert reason, f"{path.name}: {name} lowers its count without a reason"
            label = f"{path.stem.removeprefix('fuzz_')}:{name}"
            long = inputs * (INPUTS_LONG // INPUTS)
            short = INPUTS_SLOW if name in slow else inputs
            found.append(Target(label, decode, list(module.SEEDS[name]), short, long))
    return found


TARGETS = targets()


def fuzz(target: Target, seed: int, count: int) -> str:
    """Runs `count` inputs; one line of figures. Fails at the first outcome that is not allowed."""
    mutator = mutation.Mutator(target.samples, seed)
    decode, accepted = target.decode, 0
    started = time.perf_counter()
    for data in mutator.inputs(count):
        try:
            decode(data)
        except DecodeError:
            continue
        except Exception as error:  # noqa: BLE001  anything else is what this test looks for
            pytest.fail(report(target.name, data, seed, error))
        accepted += 1
        if accepted <= ACCEPTED_KEPT:
            mutator.keep(data)
    seconds = time.perf_counter() - started
    return f"{target.name}: {count} inputs, seed {seed}, {accepted} accepted, {seconds:.1f} s"


def report(name: str, data: bytes, seed: int, error: Exception) -> str:
    return (
        f"{name} raised {type(error).__name__}: {error}\n"
        f"input ({len(data)} bytes): {data.hex()}\n"
        f"seed: DMS3_FUZZ_SEED={seed}\n"
        f"replay: .venv/bin/python tests/property/test_fuzz.py {name} {data.hex()}"
    )


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_samples_are_valid(target: Target):
    for sample in target.samples:
        target.decode(sample)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_decoder_returns_or_raises_decode_error(target: Target):
    print(fuzz(target, SEED, target.inputs))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_decoder_many_inputs(target: Target):
    seed = int(os.environ.get("DMS3_FUZZ_SEED", "0")) or secrets.randbits(32)
    print(fuzz(target, seed, target.inputs_long))


def test_harness_catches_another_exception():
    def decode(data: bytes) -> int:
        if len(data) < 4:
            raise DecodeError(0, "too short")
        return (1, 2, 3)[data[3] % 4]  # IndexError for a quarter of the inputs

    with pytest.raises(pytest.fail.Exception, match=r"(?s)IndexError.*replay: .* demo [0-9a-f]{8}"):
        fuzz(Target("demo", decode, [b"\0\0\0\0"], 0, 0), 1, 1000)


def test_inputs_are_equal_for_equal_seed_and_various():
    samples = [bytes(range(40)), b"another sample"]
    first = list(mutation.Mutator(samples, 7).inputs(5000))
    assert first == list(mutation.Mutator(samples, 7).inputs(5000))
    assert first != list(mutation.Mutator(samples, 8).inputs(5000))
    assert first[:2] == samples
    assert len(set(first)) > 3500
    assert any(len(data) > 40 for data in first)
    assert b"" in first


if __name__ == "__main__":
    (chosen,) = [target for target in TARGETS if target.name == sys.argv[1]]
    print(chosen.decode(bytes.fromhex(sys.argv[2])))
