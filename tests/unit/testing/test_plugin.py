"""The pytest plugin, as a project of somebody else has it; the tests that apps bring with them."""

import subprocess
import sys

import pytest

from dms3.cli.making import new
from dms3.cli.shared import Shared
from dms3.node.dapps_folder import SHIPPED, shipped
from dms3.testing import nodes

assert nodes  # loaded here: pytester would load them anew for each run inside

pytest_plugins = ["pytester"]

PASSING = """
def test_who_is_there(dms3_network):
    assert [node.name for node in dms3_network] == {names}
    assert dms3_network.making.parts.manifest.name == {dapp!r}
    assert dms3_network.seed == {seed}
"""


def run(pytester, *arguments: object):
    """Pytest in this process, strict as here, with the plugin by its entry point or its name."""
    options = ("-q", "-W", "error", "-p", "dms3.testing.plugin", "-p", "no:cacheprovider")
    return pytester.runpytest_inprocess(*options, *arguments)


def test_the_app_is_the_one_in_whose_folder_the_test_lies(pytester, talk):
    for path in talk.iterdir():
        (pytester.path / path.name).write_text(path.read_text())
    names = ["alice", "bob", "carol", "dave", "erin"]
    inside = pytester.mkdir("tests")
    (inside / "test_talk.py").write_text(PASSING.format(names=names, dapp="talk", seed=0))
    run(pytester).assert_outcomes(passed=1)


def test_marker_and_option_say_otherwise(pytester):
    marker = '@pytest.mark.dms3(nodes=["zoe"], dapp="notes")'
    body = PASSING.format(names=["zoe"], dapp="notes", seed=7)
    pytester.makepyfile(f"import pytest\n{marker}{body}")
    run(pytester, "--dms3-seed=7", "--strict-markers").assert_outcomes(passed=1)


def test_of_a_failure_the_seed_is_told(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.dms3(nodes=1, dapp="guestbook")
        def test_fails(dms3_network):
            assert dms3_network["alice"].call("entries") == ["a line"]
        """
    )
    result = run(pytester, "--dms3-seed=41")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Run it again with --dms3-seed=41."])


def test_a_test_outside_of_any_app_is_told_to_name_one(pytester):
    pytester.makepyfile("def test_x(dms3_network): pass")
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['*there is no dapp.toml*@pytest.mark.dms3(dapp="guestbook")*'])


def test_projects_that_do_not_use_it_load_nothing_of_it():
    code = "import sys, dms3.testing.plugin; print(*(m for m in sys.modules if 'dms3' in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["dms3", "dms3.testing", "dms3.testing.plugin"]


@pytest.mark.parametrize("name", ["agreement", "notes"])  # the guestbook is the new app below
def test_what_comes_with_dms3_keeps_its_own_tests(pytester, name):
    result = run(pytester, SHIPPED / name)
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] >= 4


def test_every_app_that_comes_with_dms3_has_tests():
    for name in shipped():
        assert (SHIPPED / name / f"test_{name}.py").is_file()


def test_a_new_app_begins_with_tests_that_pass(pytester, capsys):
    new("my-club", pytester.path, Shared(json=True))
    capsys.readouterr()
    folder = pytester.path / "my-club"
    assert (folder / "test_my_club.py").is_file()
    result = run(pytester, folder)
    assert result.ret == 0
    assert result.parseoutcomes() == {"passed": 4}
