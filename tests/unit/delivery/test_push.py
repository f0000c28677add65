"""Push over socket.io, with a real listener and python-socketio's client: the recorded rows."""

import asyncio
import contextlib
import json

import aiohttp
import pytest
import socketio
from socketio.exceptions import ConnectionError as RefusedError

from dms3.api import dm3_push
from dms3.api.serve import PUBLIC, serve
from unit.delivery_kit import BOB, MALLORY, post_office
from unit.dm3_kit import load
from unit.fronts import in_loop

EVENTS = {row["req"]: row for row in load("16")["observed"] if "status" not in row}


class Socket:
    """A client that keeps what it is told."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False, logger=False)
        self.heard: asyncio.Queue[tuple[str, object]] = asyncio.Queue()
        self.refused: list[object] = []

    async def connect(self, url, name, token, *, path="/dm3/socket.io", more=None, space="/"):
        async def hear(event: str, *data: object) -> None:
            self.heard.put_nowait((event, *data))

        def refused(data=None):
            self.refused.append(data)

        self.client.on("*", hear, namespace=space)
        self.client.on("connect_error", refused, namespace=space)
        auth = {"account": {"ensName": name}, "token": token, **(more or {})}
        await self.client.connect(
            url, auth=auth, transports=["websocket"], socketio_path=path, namespaces=[space]
        )

    async def next(self):
        async with asyncio.timeout(5):
            return await self.heard.get()


@contextlib.asynccontextmanager
async def listening(tmp_path):
    """The service on a real port, bob's token, and sockets that are closed at the end."""
    async with post_office(tmp_path) as post, serve(post.front, "127.0.0.1", 0, PUBLIC) as where:
        await post.register(BOB)
        token = (await post.login(BOB))["Authorization"].split()[1]
        sockets: list[Socket] = []

        def socket() -> Socket:
            sockets.append(Socket())
            return sockets[-1]

        try:
            yield post, where.url, token, socket
        finally:
            for one in sockets:
                await one.client.disconnect()


@in_loop
async def test_the_recorded_events(tmp_path):
    async with listening(tmp_path) as (post, url, token, socket):
        bob = socket()
        await bob.connect(url, "bob.eth", token)
        event = EVENTS["socket.io connect auth={account:{ensName},token}, transport websocket"]
        assert await bob.next() == (event["event"],)

        stranger = socket()
        with pytest.raises(RefusedError):
            await stranger.connect(url, "bob.eth", "not a token")
        event = EVENTS["socket.io connect bad token"]["event"]
        assert event == f"connect_error '{stranger.refused[0]['message']}'"

        given = {"envelop": post.envelope().value(), "token": token}
        row = EVENTS["socket.io emit submitMessage {envelop,token} with ack"]
        assert await bob.client.call("submitMessage", given) == row["ack"]
        row = EVENTS["socket.io emit submitMessage {envelop:{message:'x'}}"]
        assert await bob.client.call("submitMessage", {"envelop": {"message": "x"}}) == row["ack"]
        assert "message for a connected receiver" in EVENTS
        event, pushed = await bob.next()
        assert event == "message"
        session = {"Authorization": f"Bearer {token}"}
        assert [pushed] == await post.incoming(BOB, session)
        assert len(EVENTS) == 5


@in_loop
async def test_every_socket_of_an_account_gets_what_arrives(tmp_path):
    async with listening(tmp_path) as (post, url, token, socket):
        one, other, sealed = socket(), socket(), socket()
        await one.connect(url, "bob.eth", token)
        # As a client of the reference does that is given the whole URL of the service.
        await other.connect(url, "BOB.eth", token, path="/socket.io", space="/dm3")
        await sealed.connect(url, "bob.eth", token, more={"sealed": True})
        for each in (one, other, sealed):
            assert await each.next() == ("authorized",)
        envelope = post.envelope()
        await post.submit(envelope)
        found = [await each.next() for each in (one, other, sealed)]
        assert found[0] == found[1]
        assert found[2][1].pop("sealedDeliveryInformation") == envelope.delivery
        assert found[2] == found[0]
        await post.submit(envelope)  # again: nothing is pushed
        await one.client.disconnect()
        await post.submit(post.envelope("second"))
        _, pushed = await other.next()
        assert pushed["metadata"]["messageHash"] == post.message("second").hash
        assert one.heard.empty()


@in_loop
async def test_nobody_gets_what_is_for_another(tmp_path):
    async with listening(tmp_path) as (post, url, token, socket):
        await post.register(MALLORY)
        mine = (await post.login(MALLORY))["Authorization"].split()[1]
        for name, given in (
            ("bob.eth", mine),
            ("mallory.eth", token),
            ("nobody.eth", token),
            ("", token),
            (7, token),
            ("bob.eth", None),
            ("bob.eth", "x" * 5_000),
        ):
            with pytest.raises(RefusedError):
                await socket().connect(url, name, given)
        mallory = socket()
        await mallory.connect(url, "mallory.eth", mine)
        assert await mallory.next() == ("authorized",)
        await post.submit(post.envelope())
        await post.submit(post.envelope("hers", to=MALLORY))
        _, pushed = await mallory.next()
        assert pushed["metadata"]["deliveryInformation"]["to"] == "mallory.eth"


@in_loop
async def test_an_account_has_only_so_many_sockets(tmp_path, monkeypatch):
    monkeypatch.setattr(dm3_push, "MAIL_SOCKETS_PER_ACCOUNT_MAX", 2)
    async with listening(tmp_path) as (_, url, token, socket):
        for _ in range(2):
            await socket().connect(url, "bob.eth", token)
        with pytest.raises(RefusedError):
            await socket().connect(url, "bob.eth", token)


@in_loop
async def test_what_a_socket_submits_is_judged_like_any_other(tmp_path):
    async with listening(tmp_path) as (post, url, token, socket):
        bob = socket()
        await bob.connect(url, "bob.eth", token)
        forged = post.envelope().value()
        forged["metadata"]["signature"] = BOB.keys.sign("x")
        for given, words in (
            (forged, "not signed"),
            (None, "invalid schema"),
            ([], "invalid schema"),
            ("{", "not JSON"),
        ):
            answer = await bob.client.call("submitMessage", {"envelop": given})
            assert words in answer["error"]
        assert "error" in await bob.client.call("submitMessage", "x")
        assert post.rows("mail_message") == 0


@contextlib.asynccontextmanager
async def raw(url, token=""):
    """A WebSocket below socket.io, logged in when there is a token."""
    address = f"{url.replace('http', 'ws')}/dm3/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as session, session.ws_connect(address) as wire:
        assert (await wire.receive_str()).startswith("0{")
        if token:
            auth = {"account": {"ensName": "bob.eth"}, "token": token}
            await wire.send_str(f"40{json.dumps(auth)}")
            assert (await wire.receive_str()).startswith("40{")
            assert await wire.receive_str() == '42["authorized"]'
        yield wire


async def closed(wire):
    """Wait until the other side has closed it."""
    async with asyncio.timeout(5):
        while not wire.closed:
            await wire.receive()


@in_loop
@pytest.mark.parametrize("with_session", [False, True])
async def test_packets_that_are_none_end_the_socket_and_are_not_logged(
    tmp_path, capfd, with_session
):
    async with listening(tmp_path) as (_, url, token, _):
        for packet in (
            "49",
            "4x",
            "42",
            "42[]",
            '42["other"]',
            '42["connect", {}, {}]',
            "42" + "[" * 100_000,
            '451-["submitMessage",{"_placeholder":true,"num":0}]',
            '4599999999-["submitMessage",{"_placeholder":true,"num":0}]',
            b"binary",
        ):
            async with raw(url, token if with_session else "") as wire:
                if isinstance(packet, bytes):
                    await wire.send_bytes(packet)
                else:
                    await wire.send_str(packet)
                await closed(wire)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


@in_loop
async def test_sockets_without_a_session_are_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(dm3_push, "MAIL_SOCKET_LOGIN_SECONDS_MAX", 0.05)
    async with (
        listening(tmp_path) as (post, url, token, _),
        raw(url, token) as good,
        raw(url) as idle,
        raw(url) as refused,
    ):
        await refused.send_str('40{"account":{"ensName":"bob.eth"},"token":"x"}')
        await closed(idle)
        await closed(refused)
        await post.submit(post.envelope())
        assert (await good.receive_str()).startswith('42["message"')


@in_loop
async def test_a_service_has_only_so_many_sockets(tmp_path, monkeypatch):
    monkeypatch.setattr(dm3_push, "PUBLIC_CONNECTIONS_MAX", 2)
    async with listening(tmp_path) as (post, _, _, _):
        path = "/dm3/socket.io/?EIO=4&transport=polling"
        answers = [await post.client.get(path) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 401]
