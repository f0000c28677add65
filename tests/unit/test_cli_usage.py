"""Words that cannot be run: one clear message, exit status 2, nothing is started; and bugs."""

import subprocess
import sys

import pytest

from dms3.cli import main
from dms3.cli.dev import last_words
from dms3.core.limits import SIM_MESH_NODES_MAX, SIM_NODES_MAX
from dms3.node.commands import TABLE

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
        (
            ("bnak",),
            "There is no scenario 'bnak'.\nTry: bank, lookup, churn, devices, mail, chain, ",
        ),
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
    assert SIM_MESH_NODES_MAX == 200
    assert SIM_NODES_MAX == {"messages": 10_000, "bytes": 50}
    status, out, err = dms3("sim", "run", *words)
    assert (status, out) == (USAGE, "")
    assert said in err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--role", "relay"), "role 'relay' (from flag) is not part of this version"),
        (("--public", "0.0.0.0:80"), "public '0.0.0.0:80' (from flag) serves nothing."),
        (("--public-url", "https://a.example"), "public_url 'https://a.example' (from flag)"),
        (("--role", "delivery"), "--public HOST:PORT"),
    ],
)
def test_what_nothing_would_use_is_refused_before_a_home_is_made(dms3, tmp_path, words, said):
    status, out, err = dms3("up", "--no-open", *words)
    assert (status, out) == (USAGE, "")
    assert len(err.splitlines()) <= 2
    assert said in err
    assert not (tmp_path / "home").exists()


def test_a_bug_is_a_plain_traceback_whose_last_line_says_it():
    code = (
        "from dms3.cli import main; from dms3.node import config\n"
        "def broken(*_): raise ZeroDivisionError('nothing left')\n"
        "config.load_config = broken; main.run(['config', 'show'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.isascii(), "no frames drawn around it"
    assert last_words(done.stderr) == "ZeroDivisionError: nothing left"


def test_the_last_words_of_a_node():
    group = "    | ExceptionGroup: two\n    +-+-------- 1 ------\n"
    group += (
        "      | Traceback (most recent call last):\n      | KeyError: 'x'\n      +--------\n\n"
    )
    assert last_words(group) == "KeyError: 'x'"
    error = '{"v": 1, "error": {"code": "port_in_use", "message": "Port 1 is in use.", "hint": ""}}'
    assert last_words(f"x\n{error}\n") == "Port 1 is in use."
    assert last_words('{"event": "stopped"}') == '{"event": "stopped"}'
    assert last_words("7\n") == "7"
    assert last_words("\n---\n") == last_words("") == "it ended without a word."


def test_groups_have_words_of_their_own_and_summaries_are_whole(dms3):
    assert {row.noun for row in TABLE if row.verb} <= set(main.NOUNS)
    status, out, _ = dms3("network", "--help")
    assert status == 0
    listed = " ".join(out.split())
    for row in TABLE:
        if row.noun == "network":
            assert row.summary in listed
    assert main.NOUNS["network"] in listed


def test_a_wrong_choice_is_told_without_names_of_the_program(dms3):
    status, _, err = dms3("network", "create", "club", "--membrane", "closed")
    assert status == USAGE
    assert "'closed' is not one of 'invite', 'member'" in err
    assert "Value error" not in err
