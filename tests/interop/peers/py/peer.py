"""A py-libp2p node driven by JSON lines: commands on stdin, events and answers on stdout.

Runs in its own environment (build/peers/py), never in ours. The commands are those of
`tests/interop/peer.py`. TCP, Noise and Yamux only; `peer.py plaintext` offers plaintext only.
"""

import hashlib
import json
import os
import sys
import time
from functools import partial

import multiaddr
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.ping import ID as PING
from libp2p.host.ping import PingService
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import parse_identify_response
from libp2p.network import swarm
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.envelope import consume_envelope
from libp2p.peer.id import ID as PeerID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL_ID
from libp2p.security.noise.transport import Transport as NoiseTransport

ECHO = TProtocol("/dms3-test/echo/1.0.0")
BULK = TProtocol("/dms3-test/bulk/1.0.0")
PIECE = 65_536
PUSH, PULL = 1, 2
PATTERN = bytes(range(251)) * (PIECE // 251 + 2)

swarm._HAPPY_EYEBALLS_DELAY = 0  # it waits 250 ms on every dial, even to a single address


def say(**fields):
    print(json.dumps(fields), flush=True)


async def read_some(stream):
    try:
        return await stream.read(PIECE)
    except StreamEOF:
        return b""


async def read_all(stream):
    parts = []
    while part := await read_some(stream):
        parts.append(part)
    return b"".join(parts)


async def send_pattern(stream, count):
    for sent in range(0, count, PIECE):
        start = sent % 251
        await stream.write(PATTERN[start : start + min(PIECE, count - sent)])


async def digest_of(stream, first=b""):
    digest, size = hashlib.sha256(first), len(first)
    while part := await read_some(stream):
        digest.update(part)
        size += len(part)
    return {"bytes": size, "sha256": digest.hexdigest()}


async def answer_echo(stream):
    while part := await read_some(stream):
        await stream.write(part)
    await stream.close_write()


async def answer_bulk(stream):
    header = b""
    while len(header) < 9:
        part = await read_some(stream)
        if not part:
            await stream.reset()
            return
        header += part
    if header[0] == PULL:
        await send_pattern(stream, int.from_bytes(header[1:9], "big"))
    else:
        await stream.write(json.dumps(await digest_of(stream, header[9:])).encode())
    await stream.close_write()


class Commands:
    def __init__(self, host):
        self.host = host

    async def dial(self, address):
        info = info_from_p2p_addr(multiaddr.Multiaddr(address))
        with trio.fail_after(20):
            await self.host.connect(info)
        return {"peer": str(info.peer_id)}

    async def identify(self, peer):
        stream = await self.host.new_stream(PeerID.from_string(peer), [IDENTIFY])
        found = parse_identify_response(await read_all(stream))
        _, record = consume_envelope(found.signedPeerRecord, "libp2p-peer-record")
        return {
            "sequence": str(record.seq),
            "agent": found.agent_version,
            "protocol": found.protocol_version,
            "protocols": list(found.protocols),
            "addresses": [str(multiaddr.Multiaddr(raw)) for raw in found.listen_addrs],
            "observed": str(multiaddr.Multiaddr(found.observed_addr)),
        }

    async def ping(self, peer):
        times = await PingService(self.host).ping(PeerID.from_string(peer), 1)
        return {"milliseconds": times[0]}

    async def echo(self, peer, bytes):
        stream = await self.host.new_stream(PeerID.from_string(peer), [ECHO])
        sent = os.urandom(bytes)
        await stream.write(sent)
        await stream.close_write()
        back = await read_all(stream)
        return {"same": back == sent, "bytes": len(back)}

    async def echoes(self, peer, bytes, count):
        started = time.perf_counter()
        for _ in range(count):
            if not (await self.echo(peer, bytes))["same"]:
                raise RuntimeError("an echo came back changed")
        return {"seconds": time.perf_counter() - started}

    async def push(self, peer, bytes):
        stream = await self.host.new_stream(PeerID.from_string(peer), [BULK])
        await stream.write(PUSH.to_bytes(1, "big") + bytes.to_bytes(8, "big"))
        await send_pattern(stream, bytes)
        await stream.close_write()
        return json.loads(await read_all(stream))

    async def pull(self, peer, bytes):
        stream = await self.host.new_stream(PeerID.from_string(peer), [BULK])
        await stream.write(PULL.to_bytes(1, "big") + bytes.to_bytes(8, "big"))
        await stream.close_write()
        return await digest_of(stream)

    async def hangup(self, peer):
        await self.host.disconnect(PeerID.from_string(peer))
        return {}


async def run_command(commands, line):
    fields = json.loads(line)
    number, command = fields.pop("id"), fields.pop("command")
    try:
        say(id=number, ok=True, **await getattr(commands, command)(**fields))
    except Exception as error:  # noqa: BLE001  whatever fails is the answer to the test
        say(id=number, ok=False, error=f"{type(error).__name__}: {error}")


async def main(security):
    key = create_new_key_pair()
    if security == "plaintext":
        offered = {TProtocol(PLAINTEXT_PROTOCOL_ID): InsecureTransport(key)}
    else:
        noise = NoiseTransport(key, noise_privkey=create_noise_key_pair().private_key)
        offered = {NOISE_PROTOCOL_ID: noise}
    host = new_host(key_pair=key, sec_opt=offered, muxer_preference="YAMUX")
    listen = multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")
    async with host.run(listen_addrs=[listen]), trio.open_nursery() as nursery:
        host.set_stream_handler(ECHO, answer_echo)
        host.set_stream_handler(BULK, answer_bulk)
        host.set_stream_handler(PING, PingService(host).handle_ping)
        addresses = [str(address) for address in host.get_addrs()]
        say(event="ready", peer=str(host.get_id()), addresses=addresses, security=security)
        commands = Commands(host)
        buffered = b""
        async with trio.lowlevel.FdStream(os.dup(0)) as commands_in:
            async for part in commands_in:
                *lines, buffered = (buffered + part).split(b"\n")
                for line in lines:
                    if json.loads(line)["command"] == "stop":
                        say(id=json.loads(line)["id"], ok=True)
                        nursery.cancel_scope.cancel()
                    nursery.start_soon(partial(run_command, commands, line))
        nursery.cancel_scope.cancel()


trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "noise")
