"""A node of the kademlia package for benchmarks/lookups.py, driven by JSON lines.

It prints {"address"}, then answers each line of stdin: {"join": ADDRESS}, {"put": KEY, "bytes": N},
{"get": KEY} with {"seconds", "bytes", "held"}: `held` is true when the value was here already.
k is 8, as many as keep a value in dms3. Runs in build/peers/kademlia, never in our environment.
"""

import asyncio
import json
import sys
import time

from kademlia.network import Server
from kademlia.utils import digest

HOLDERS = 8
NO_PORT = 0


def say(**fields: object):
    print(json.dumps(fields), flush=True)


async def answer(server, asked):
    begun = time.perf_counter()
    if "join" in asked:
        host, port = asked["join"].split(":")
        await server.bootstrap([(host, int(port))])
        return {"seconds": time.perf_counter() - begun}
    if "put" in asked:
        await server.set(asked["put"], "x" * asked["bytes"])
        return {"seconds": time.perf_counter() - begun}
    held = server.storage.get(digest(asked["get"])) is not None
    found = await server.get(asked["get"])
    return {"seconds": time.perf_counter() - begun, "bytes": len(found or ""), "held": held}


async def main():
    server = Server(ksize=HOLDERS)
    await server.listen(NO_PORT, "127.0.0.1")
    host, port = server.transport.get_extra_info("sockname")
    say(address=f"{host}:{port}")
    while line := await asyncio.to_thread(sys.stdin.readline):
        say(**await answer(server, json.loads(line)))


asyncio.run(main())
