"""A local network for a page or an example, and the environment of whoever follows it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def network(folder: Path) -> Iterator[None]:
    """Nodes alice and bob in `folder`/net, each a process of its own, as `dms3 dev` starts them.

    Bob is a delivery service, too.
    """
    words = ["dev", "-n", "2", "--role", "bob=delivery", "--home", str(folder / "net"), "--json"]
    with (folder / "dev.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dms3", *words], stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (folder / "dev.log").read_text()
        assert [node["name"] for node in json.loads(line)["data"]["nodes"]] == ["alice", "bob"]
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def environment(home: Path) -> dict[str, str]:
    """Of a reader with dms3 installed, whose node is the one on `home`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DMS3_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "DMS3_HOME": str(home), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
