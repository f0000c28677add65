"""Networks of people between processes: refused without a proof, in with one, found by members.

Four processes on loopback for all claims; most of what it costs is starting them, and one again.
Dave's does less work than a network asks for, and does not mind.
"""

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from dms3.core.errors import Dms3Error
from dms3.node.dapps_folder import SHIPPED
from dms3.sdk import Client
from network.app_network import AppNetwork, called, until

TEXT = "The heron waits beside the ninth lock at Marsworth.\n"
IDLER = Path(__file__).with_name("idler.py")
SEED = "seven herons over the weir"


class Four:
    """Alice, Bob, Carol and Dave, each with a client and a root."""

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self.roots: dict[str, str] = {}

    async def call(self, who: str, noun: str, verb: str, /, **given: Any) -> dict[str, Any]:
        return await self.clients[who].call(noun, verb, **given)

    async def invited(self, by: str, name: str, who: str, **given: Any) -> str:
        made = await self.call(by, "network", "invite", name=name, who=self.roots[who], **given)
        return str(made["invitation"])

    async def join(self, who: str, invitation: str, **given: Any) -> dict[str, Any]:
        return await self.call(who, "network", "join", invitation=invitation, **given)

    async def refused(self, who: str, invitation: str, rule: str, **given: Any) -> None:
        with pytest.raises(Dms3Error, match=rule) as caught:
            await self.join(who, invitation, **given)
        assert caught.value.code == "not_admitted"
        listed = await self.call(who, "network", "list")
        name = given.get("name", "club")
        assert not any(row["name"] == name for row in listed["networks"])

    async def members(self, who: str, name: str, *names: str) -> None:
        """`who` sees exactly these people in the network."""
        wanted = sorted(self.roots[each] for each in names)

        async def seen() -> bool:
            found = await self.call(who, "network", "members", name=name)
            return sorted(row["root"] for row in found["members"]) == wanted

        await until(seen)


@contextlib.asynccontextmanager
async def four(home: Path):
    network, made = AppNetwork(home, ["dave"]), Four()
    network.script = IDLER
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(network.stop)
        await network.start(4)
        for name, node in network.nodes.items():
            client = Client(home=Path(node.home), api=node.api)
            made.clients[name] = await stack.enter_async_context(client)
            made.roots[name] = (await client.call("id", "show"))["root"]
        yield network, made


async def who_is_not_invited_is_refused(net: Four) -> None:
    made = await net.call("alice", "network", "create", name="club")
    assert (made["membrane"], made["may_invite"]) == ("invite", True)
    invitation = await net.invited("alice", "club", "bob")
    await net.refused("carol", invitation, "membrane-member")  # who has read it
    joined = await net.join("bob", invitation)
    assert joined["id"] == made["id"]
    for name in ("walkers", "club"):  # what it is called here, and nowhere else
        again = await net.join("bob", f"For bob:\n{invitation}\n", name=name)
        assert (again["id"], again["name"]) == (made["id"], name)
    await net.members("alice", "club", "alice", "bob")
    await net.members("bob", "club", "alice", "bob")
    with pytest.raises(Dms3Error, match="Only its admins"):
        await net.invited("bob", "club", "carol")
    await net.join("carol", await net.invited("alice", "club", "carol"))
    await net.members("bob", "club", "alice", "bob", "carol")
    listed = await net.call("dave", "network", "list")
    assert listed["networks"] == []
    assert made["id"] not in {row["id"] for row in listed["overlays"]}


async def two_of_three_admins_have_to_sign(net: Four) -> None:
    admins = [net.roots["bob"], net.roots["carol"]]
    await net.call("alice", "network", "create", name="board", admins=admins, needed=2)
    one = await net.call("alice", "network", "invite", name="board", who=net.roots["bob"])
    assert (one["signed"], one["needed"], one["complete"]) == (1, 2, False)
    await net.join("bob", one["invitation"])  # an admin is in by being named
    half = await net.invited("alice", "board", "dave")
    await net.refused("dave", half, "membrane-needed", name="board")
    whole = await net.call("bob", "network", "sign", invitation=half)
    assert whole["complete"]
    with pytest.raises(Dms3Error, match="not an admin") as caught:
        await net.call("dave", "network", "sign", invitation=half)
    assert "one of its admins" in caught.value.hint
    await net.join("dave", whole["invitation"])
    await net.members("alice", "board", "alice", "bob", "dave")


async def any_member_invites(net: Four) -> None:
    await net.call("alice", "network", "create", name="walks", membrane="member")
    mine = await net.invited("alice", "walks", "bob")
    with pytest.raises(Dms3Error, match="membrane-member"):
        await net.join("dave", mine)
    await net.join("bob", mine)
    await net.join("dave", await net.invited("bob", "walks", "dave"))
    await net.members("alice", "walks", "alice", "bob", "dave")


async def a_seed_has_to_be_known_and_work_to_be_done(net: Four) -> None:
    with pytest.raises(Dms3Error, match="seed"):
        await net.call("alice", "network", "create", name="weir", membrane="seed")
    await net.call("alice", "network", "create", name="weir", membrane="seed", seed=SEED)
    text = await net.invited("alice", "weir", "bob")
    await net.refused("bob", text, "membrane-missing", name="weir")
    await net.refused("bob", text, "membrane-admin", name="weir", seed="another seed")
    await net.join("bob", text, seed=SEED)
    await net.members("bob", "weir", "alice", "bob")
    await net.call("alice", "network", "create", name="mill", membrane="work", bits=12)
    await net.join("dave", await net.invited("alice", "mill", "dave"))  # as far as his node knows
    for late in ("bob", "carol"):
        await net.join(late, await net.invited("alice", "mill", late))
    for inside in ("alice", "bob", "carol"):
        await net.members(inside, "mill", "alice", "bob", "carol")
    await net.members("dave", "mill", "dave")


async def a_local_network_has_whoever_is_near(net: Four) -> None:
    made = await net.call("alice", "network", "create", name="house", membrane="lan")
    assert made["local"]
    await net.join("carol", await net.invited("alice", "house", "carol"))
    await net.members("carol", "house", "alice", "carol")


async def what_is_in_a_network_is_found_by_its_members_only(net: Four, folder: Path) -> None:
    (folder / "heron.txt").write_text(TEXT)
    await net.call("alice", "store", "add", paths=[str(folder)], space="canal")
    done = await net.call("alice", "store", "publish", space="canal", network="club")
    assert (done["stage"], done["public"], done["network"]) == ("done", False, "club")

    async def found(who: str, scope: str) -> list[dict[str, Any]]:
        answer = await net.call(who, "search", "", query="heron", scope=scope)
        hits: list[dict[str, Any]] = answer["hits"]
        return hits

    (hit,) = await until(lambda: found("bob", "peers"))
    assert hit["network"] == "club"
    assert await found("dave", "all") == []
    assert await found("bob", "public") == []
    fetched = await net.clients["bob"].call("store", "get", cid=hit["cid"])
    assert fetched["size"] == len(TEXT)
    with pytest.raises(Dms3Error) as caught:  # who knows its name, and is not in the network
        await net.call("dave", "store", "get", cid=hit["cid"])
    assert caught.value.code == "content_unavailable"


async def an_app_lets_in_whom_its_admin_invites(net: Four, folder: Path) -> None:
    shutil.copytree(SHIPPED / "guestbook", folder)
    toml = (folder / "dapp.toml").read_text()
    by = f'{{ scheme = "invite", by = ["{net.roots["alice"]}"], needed = 1 }}'
    (folder / "dapp.toml").write_text(f"membrane = {by}\n{toml}")
    await net.call("alice", "dapp", "install", files=[str(folder)])
    with pytest.raises(Dms3Error, match="membrane-missing"):
        await net.call("bob", "dapp", "install", files=[str(folder)])
    made = await net.call("alice", "dapp", "invite", dapp="guestbook", who=net.roots["bob"])
    with pytest.raises(Dms3Error, match="membrane-member"):
        await net.call("carol", "dapp", "install", files=[str(folder)], proof=made["proof"])
    await net.call("bob", "dapp", "install", files=[str(folder)], proof=made["proof"])
    await called(net.clients["bob"], "guestbook", "sign", text="let in")

    async def read() -> bool:
        return len(await called(net.clients["alice"], "guestbook", "entries")) == 1

    await until(read)


async def a_network_is_there_after_a_restart(network: AppNetwork, net: Four) -> None:
    network.kill("bob")
    await network.wait("bob")
    node = await network.start_node("bob")
    async with Client(home=Path(node.home), api=node.api) as bob:
        net.clients["bob"] = bob
        await net.members("bob", "club", "alice", "bob", "carol")
        left = await bob.call("network", "leave", name="club")
        assert left["left"]
        listed = await bob.call("network", "list")
        assert "club" not in {row["name"] for row in listed["networks"]}


def test_networks_of_people(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()

    async def scenario() -> None:
        async with four(tmp_path / "net") as (network, net):
            await who_is_not_invited_is_refused(net)
            await two_of_three_admins_have_to_sign(net)
            await any_member_invites(net)
            await a_seed_has_to_be_known_and_work_to_be_done(net)
            await a_local_network_has_whoever_is_near(net)
            await what_is_in_a_network_is_found_by_its_members_only(net, folder)
            await an_app_lets_in_whom_its_admin_invites(net, tmp_path / "guestbook")
            await a_network_is_there_after_a_restart(network, net)

    asyncio.run(scenario())
