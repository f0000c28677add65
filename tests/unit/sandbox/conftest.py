import pytest

from dms3.io.runner_cache import RunnerCache
from dms3.io.sandbox_engine import SandboxEngine


@pytest.fixture(scope="session")
def runner():
    return RunnerCache().make()


@pytest.fixture(scope="session")
def engine(runner):
    """One for all tests: every test has programs of its own."""
    return SandboxEngine(runner)
