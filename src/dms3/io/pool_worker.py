"""The program of a worker process: takes pickled calls from its parent, gives back results.

Source: docs/architecture.md, "The driver": work over 2 ms never runs on the loop. Started by
`io/pool.py` as `python -m dms3.io.pool_worker NUMBER` with a socket to the parent at that file
descriptor. It ends when the parent does, however that dies, because the socket then ends; it
ignores Ctrl-C, which is the parent's business. It opens nothing and decides nothing.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import resource
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import POOL_MEMORY_BYTES_MAX, POOL_MESSAGE_BYTES_MAX

HELLO = b"ready"
WORKER_NICENESS = 5  # the loop that answers people goes first


def main() -> None:
    """Serve one parent until it goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(WORKER_NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a memory image would hold documents
    with contextlib.suppress(ValueError, OSError):  # a lower limit is in force already
        resource.setrlimit(resource.RLIMIT_AS, (POOL_MEMORY_BYTES_MAX, POOL_MEMORY_BYTES_MAX))
    link: Connection[Any, Any] = Connection(int(sys.argv[1]))
    sys.path[:] = pickle.loads(link.recv_bytes())  # noqa: S301 - our own parent
    link.send_bytes(HELLO)
    calls: queue.Queue[bytes] = queue.Queue(maxsize=1)
    threading.Thread(target=_listen, args=(link, calls), daemon=True).start()
    while True:
        link.send_bytes(_answer(calls.get()))


def _listen(link: Connection[Any, Any], calls: queue.Queue[bytes]) -> None:
    """Pass calls on; the end of the socket is the end of the process, also in mid-call."""
    while True:
        try:
            calls.put(link.recv_bytes(POOL_MESSAGE_BYTES_MAX))
        except (EOFError, OSError):
            os._exit(0)


def _answer(call: bytes) -> bytes:
    """The pickled outcome of a call: ("result", value) or ("failure", parts of the error)."""
    try:
        function, arguments = pickle.loads(call)  # noqa: S301 - our own parent
        return pickle.dumps(("result", function(*arguments)))
    except DecodeError as error:
        return pickle.dumps(("undecodable", error.offset, error.reason))
    except Dms3Error as error:
        parts = (error.code, error.message, error.hint, error.retry, error.blame)
        return pickle.dumps(("failure", *parts))
    except MemoryError:
        return pickle.dumps(("exhausted",))
    except BaseException as error:  # noqa: BLE001 - the parent is told, without any document text
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        return pickle.dumps(("broken", type(error).__name__, place))


if __name__ == "__main__":
    main()
