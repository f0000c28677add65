"""Words that cannot be run: one clear message, exit status 2, and nothing is started."""

import pytest

from dms3.cli import main
from dms3.core.limits import SIM_NODES_MAX

USAGE = 2


@pytest.fixture
def dms3(tmp_path, monkeypatch, capfd):
    """Run words on an empty home: (status, stdout, stderr)."""
    monkeypatch.setenv("DMS3_HOME", str(tmp_path / "home"))

    def run(*words: str) -> tuple[int, str, str]:
        status = main.run(words)
        return status, *capfd.readouterr()

    return run


@pytest.mark.parametrize("nodes", ["2", "0", "-1"])
def test_a_tour_with_too_few_nodes_starts_none(dms3, tmp_path, nodes):
    status, out, err = dms3("demo", "-n", nodes)
    assert (status, out) == (USAGE, "")
    assert err.startswith(f"The tour needs at least 3 nodes, not {nodes}.\n")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bank", "--fidelity", "x"), "There is no fidelity 'x'.\nTry: messages, bytes\n"),
        (("bnak",), "There is no scenario 'bnak'.\nTry: bank\n"),
        (("bank", "--nodes", "1"), "--nodes is 1; 2 to 200 can be run.\n"),
        (("bank", "--nodes", "201"), "--nodes is 201; 2 to 200 can be run.\n"),
        (("bank", "--nodes", "51", "--fidelity", "bytes"), "--nodes is 51; 2 to 50 can be run.\n"),
        (("bank", "--minutes", "0"), "--minutes is 0; it must be more than 0 and at most 1440.\n"),
        (("bank", "--minutes", "1441"), "--minutes is 1441; it must be"),
        (("bank", "--minutes", "nan"), "--minutes is nan; it must be"),
        (("bank", "--minutes", "long"), "--minutes"),
        (("bank", "--seed", "x"), "--seed"),
    ],
)
def test_a_simulation_that_cannot_be_run_is_refused(dms3, words, said):
    assert SIM_NODES_MAX == {"messages": 200, "bytes": 50}
    status, out, err = dms3("sim", "run", *words)
    assert (status, out) == (USAGE, "")
    assert said in err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 2
