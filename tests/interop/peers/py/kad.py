"""A node of py-libp2p's kad-dht for benchmarks/lookups.py, driven by JSON lines.

Lines and answers are those of ../kademlia/kad.py. Every node serves; a value goes to the 8 nearest,
as many as keep a value in dms3, and a get ends with the first that has it. Noise and Yamux over
TCP, the delay of a dial at 0. Runs in build/peers/py, never in our environment.
"""

import functools
import json
import os
import time

import multiaddr
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.network import swarm
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.records.validator import BlankValidator, NamespacedValidator
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.tools.anyio_service import background_trio_service

HOLDERS = 8
REFRESH_SECONDS_MAX = 30

swarm._HAPPY_EYEBALLS_DELAY = 0


def say(**fields):
    print(json.dumps(fields), flush=True)


async def answer(host, dht, asked):
    begun = time.perf_counter()
    if "join" in asked:
        info = info_from_p2p_addr(multiaddr.Multiaddr(asked["join"]))
        await host.connect(info)
        await dht.add_peer(info.peer_id, skip_server_mode_check=True)
        with trio.move_on_after(REFRESH_SECONDS_MAX):
            await dht.refresh_routing_table()
        return {"seconds": time.perf_counter() - begun}
    if "put" in asked:
        whole = dht.peer_routing.find_closest_peers_network
        dht.peer_routing.find_closest_peers_network = functools.partial(whole, count=HOLDERS)
        await dht.put_value("/bench/" + asked["put"], b"x" * asked["bytes"])
        dht.peer_routing.find_closest_peers_network = whole
        return {"seconds": time.perf_counter() - begun}
    key = "/bench/" + asked["get"]
    held = dht.value_store.get(key.encode()) is not None
    found = await dht.get_value(key, quorum=1)
    return {"seconds": time.perf_counter() - begun, "bytes": len(found or b""), "held": held}


async def main():
    key = create_new_key_pair()
    noise = NoiseTransport(key, noise_privkey=create_noise_key_pair().private_key)
    host = new_host(key_pair=key, sec_opt={NOISE_PROTOCOL_ID: noise}, muxer_preference="YAMUX")
    async with host.run(listen_addrs=[multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        validator = NamespacedValidator({"bench": BlankValidator()})
        dht = KadDHT(host, DHTMode.SERVER, validator=validator, validator_changed=True)
        async with background_trio_service(dht):
            address = str(host.get_addrs()[0])
            say(address=address if "/p2p/" in address else f"{address}/p2p/{host.get_id()}")
            buffered = b""
            async with trio.lowlevel.FdStream(os.dup(0)) as stream:
                async for part in stream:
                    *lines, buffered = (buffered + part).split(b"\n")
                    for line in lines:
                        say(**await answer(host, dht, json.loads(line)))
            os._exit(0)


trio.run(main)
