"""A local network for a page or an example, and the environment of whoever follows it."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from network.nodes import Network


@contextmanager
def network(folder: Path) -> Iterator[None]:
    """Nodes alice and bob in `folder`/net, each a process of its own, as `dms3 dev` starts them.

    Bob is a delivery service, too.
    """
    with asyncio.Runner() as runner:
        made = Network(folder / "net", roles={"bob": ["delivery"]})
        try:
            runner.run(made.start(2))
            yield
        finally:
            runner.run(made.stop())


def environment(home: Path) -> dict[str, str]:
    """Of a reader with dms3 installed, whose node is the one on `home`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DMS3_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "DMS3_HOME": str(home), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
