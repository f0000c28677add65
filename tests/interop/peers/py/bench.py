"""py-libp2p for benchmarks/streams.py: `bench.py serve`, or `bench.py ask ADDRESS`.

Asking, it reads one JSON command per line from stdin; benchmarks/wire.py says what each measures.
Runs in its own environment (build/peers/py), never in ours. TCP, Noise and Yamux only.
"""

import json
import os
import sys
import time

import multiaddr
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network import swarm
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL_ID
from libp2p.security.noise.transport import Transport as NoiseTransport

ECHO, SINK = TProtocol("/bench/echo/1"), TProtocol("/bench/sink/1")
BODY = b"x" * 1024
PIECE = 65_536
STOCK_DELAY = swarm._HAPPY_EYEBALLS_DELAY


def say(**fields):
    print(json.dumps(fields), flush=True)


def make_host():
    key = create_new_key_pair()
    noise = NoiseTransport(key, noise_privkey=create_noise_key_pair().private_key)
    return new_host(key_pair=key, sec_opt={NOISE_PROTOCOL_ID: noise}, muxer_preference="YAMUX")


async def read_some(stream):
    try:
        return await stream.read(PIECE)
    except StreamEOF:
        return b""


async def read_exactly(stream, count):
    while count > 0:
        part = await read_some(stream)
        if not part:
            raise RuntimeError(f"the stream ended, {count} bytes missing")
        count -= len(part)


async def answer_echo(stream):
    total = 0
    while part := await read_some(stream):
        total += len(part)
        if total % len(BODY) == 0:
            await stream.write(BODY)
    await stream.close_write()


async def answer_sink(stream):
    total = 0
    while part := await read_some(stream):
        total += len(part)
    await stream.write(total.to_bytes(8, "big"))
    await stream.close_write()


async def serve():
    host = make_host()
    async with host.run(listen_addrs=[multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        host.set_stream_handler(ECHO, answer_echo)
        host.set_stream_handler(SINK, answer_sink)
        address = str(host.get_addrs()[0])
        say(address=address if "/p2p/" in address else f"{address}/p2p/{host.get_id()}")
        await lines().__anext__()


async def lines():
    """The lines of stdin; at its end the program ends."""
    buffered = b""
    async with trio.lowlevel.FdStream(os.dup(0)) as stream:
        async for part in stream:
            *whole, buffered = (buffered + part).split(b"\n")
            for line in whole:
                yield line
    os._exit(0)


async def echoes(host, peer, count):
    for _ in range(count):
        stream = await host.new_stream(peer, [ECHO])
        await stream.write(BODY)
        await read_exactly(stream, len(BODY))
        await stream.close_write()


async def bulk(host, peer, size, piece):
    stream = await host.new_stream(peer, [SINK])
    data = bytes(piece)
    for _ in range(0, size, piece):
        await stream.write(data)
    await stream.close_write()
    await read_exactly(stream, 8)


async def dials(info, count, delay):
    swarm._HAPPY_EYEBALLS_DELAY = STOCK_DELAY if delay == "stock" else 0
    seconds = []
    for _ in range(count):
        host = make_host()
        async with host.run(listen_addrs=[]):
            begun = time.perf_counter()
            await host.connect(info)
            seconds.append(time.perf_counter() - begun)
    return seconds


async def ask(address):
    info = info_from_p2p_addr(multiaddr.Multiaddr(address))
    host = make_host()
    async with host.run(listen_addrs=[]):
        await host.connect(info)
        async for line in lines():
            fields = json.loads(line)
            what = fields["what"]
            if what == "dial":
                say(seconds=await dials(info, fields["count"], fields.get("delay")))
                continue
            begun = time.perf_counter()
            if what == "echo":
                async with trio.open_nursery() as nursery:
                    for _ in range(fields["flight"]):
                        share = fields["count"] // fields["flight"]
                        nursery.start_soon(echoes, host, info.peer_id, share)
            else:
                await bulk(host, info.peer_id, fields["bytes"], fields["piece"])
            say(seconds=time.perf_counter() - begun)


trio.run(*((serve,) if sys.argv[1] == "serve" else (ask, sys.argv[2])))
