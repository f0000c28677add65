"""pytest plugin: the fixture `dms3_network`, option `--dms3-seed`, the seed of what failed.

Source: docs/testing.md, "With pytest". pytest loads it wherever dms3 is installed, so it imports
nothing of dms3 until a test asks for a network.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dms3.testing.nodes import Nodes

MARKER = "dms3"
_DEFAULT_SEED = 0
_NODES_DEFAULT = 5
_MANIFEST = "dapp.toml"
_SEED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option `--dms3-seed`."""
    parser.getgroup("dms3").addoption(
        "--dms3-seed",
        type=int,
        default=_DEFAULT_SEED,
        metavar="NUMBER",
        help="what networks of nodes draw delays and keys from; equal seeds give equal runs",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marker `dms3`."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(nodes=5, dapp=FOLDER_OR_NAME, proofs={{}}): what the fixture dms3_network makes",
    )


@pytest.fixture
def dms3_network(request: pytest.FixtureRequest) -> Iterator[Nodes]:
    """Five nodes with the app in whose folder the test lies; the marker `dms3` says otherwise."""
    from dms3.testing import network  # noqa: PLC0415 - see the module's docstring

    seed: int = request.config.getoption("--dms3-seed")
    request.node.stash[_SEED] = seed
    dapp = _marked(request, "dapp", None) or _folder_of(request.path)
    count = _marked(request, "nodes", _NODES_DEFAULT)
    with network(count, dapp, seed=seed, proofs=_marked(request, "proofs", None)) as nodes:
        yield nodes


def _marked(request: pytest.FixtureRequest, name: str, otherwise: Any) -> Any:
    marker = request.node.get_closest_marker(MARKER)
    return otherwise if marker is None else marker.kwargs.get(name, otherwise)


def _folder_of(test: Path) -> Path:
    """The folder of the app that a test lies in, or in whose folder its folder lies."""
    for folder in (test.parent, *test.parents):
        if (folder / _MANIFEST).is_file():
            return folder
    raise pytest.UsageError(
        f"{test} lies in no folder of an app: there is no {_MANIFEST}. "
        f'Name one: @pytest.mark.{MARKER}(dapp="guestbook").'
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say of a failed test which seed its network had."""
    report = yield
    if report.failed and _SEED in item.stash:
        said = f"Run it again with --dms3-seed={item.stash[_SEED]}."
        report.sections.append(("dms3", said))
    return report
