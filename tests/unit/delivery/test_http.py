"""The public listener and the HTTP of a delivery service: paths, CORS, bounds per address."""

import asyncio

import pytest
import uvicorn
from starlette.datastructures import Headers
from uvicorn.server import ServerState

from dms3.api import public
from dms3.api.public import PublicFront, remote_host
from dms3.api.serve import _counting
from dms3.core import limits
from dms3.delivery.rates import Rates
from unit.delivery_kit import ALICE, BOB, post_office
from unit.fronts import in_loop


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/dm3"),
        ("GET", "/dm3/"),
        ("GET", "/dm3/nothing"),
        ("PUT", "/dm3/hello"),
        ("GET", "/dm3/hello/there"),
        ("GET", "/dm3/profile"),
        ("GET", "/dm3/profile/a/b"),
        ("GET", "/dm3/delivery"),
        ("GET", "/dm3/delivery/messages/incoming"),
        ("POST", "/dm3/delivery/messages/bob.eth"),
        ("GET", "/dm3/rpc"),
        ("GET", "/dm3/../etc/passwd"),
        ("GET", "/"),
        ("GET", "/api/v1/status"),
        ("POST", "/api/v1/status"),
        ("GET", "/login"),
        ("GET", "/metrics"),
        ("GET", "/static/page.js"),
    ],
)
@in_loop
async def test_paths_that_are_none(tmp_path, method, path):
    async with post_office(tmp_path) as post:
        answer = await post.client.request(method, path)
        assert answer.status_code == 404
        assert answer.json()["error"]
        assert answer.headers["access-control-allow-origin"] == "*"


@in_loop
async def test_any_page_may_ask(tmp_path):
    async with post_office(tmp_path) as post:
        headers = {
            "Origin": "https://app.example.org",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,authorization",
        }
        answer = await post.client.options("/dm3/rpc", headers=headers)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-methods"] == "GET,HEAD,PUT,PATCH,POST,DELETE"
        assert answer.headers["access-control-allow-headers"] == "content-type,authorization"
        answer = await post.client.get("/dm3/hello", headers={"Origin": "https://a.example"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["x-content-type-options"] == "nosniff"


@in_loop
async def test_a_head_is_answered_as_a_get(tmp_path):
    async with post_office(tmp_path) as post:
        assert (await post.client.head("/dm3/hello")).status_code == 200


@in_loop
async def test_the_id_of_a_question_is_in_the_answer(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        for method in ("dm3_getDeliveryServiceProperties", "dm3_getProfileExtension"):
            answer = await post.rpc(method, "bob.eth", id=7)
            assert answer.json()["id"] == 7
            assert "id" not in (await post.rpc(method, "bob.eth")).json()
        answer = await post.rpc("dm3_submitMessage", post.envelope(to=ALICE).text(), id="x")
        assert answer.json()["id"] == "x"


@in_loop
async def test_a_name_that_is_nobodys(tmp_path):
    async with post_office(tmp_path) as post:
        answer = await post.client.get("/dm3/profile/nobody.eth")
        assert (answer.status_code, answer.text) == (404, "Not Found")
        for name in (None, 7, "", "a b\u202e"):
            answer = await post.rpc("dm3_getProfileExtension", name)
            assert (answer.status_code, answer.json()) == (400, {"error": "unknown user"})


@in_loop
async def test_notifications_are_not_sent(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        session = await post.login(BOB)

        async def told(method, path, body=None):
            answer = await post.client.request(
                method, f"/dm3/notifications/{path}", headers=session, json=body
            )
            return answer.status_code, answer.json().get("error", "") if answer.text != "OK" else ""

        assert await told("POST", "global/bob.eth", {"isEnabled": False}) == (200, "")
        status, words = await told("POST", "global/bob.eth", {"isEnabled": True})
        assert (status, words) == (400, "This service sends no notifications")
        assert await told("POST", "global/bob.eth", {}) == (400, "Invalid value")
        for path, body, words in (
            ("bob.eth", {}, "Notification Channel Type is missing"),
            ("bob.eth", {"notificationChannelType": "PIGEON"}, "Invalid notification channel type"),
            ("bob.eth", {"notificationChannelType": "EMAIL"}, "Recipient value is missing"),
            (
                "bob.eth",
                {"notificationChannelType": "EMAIL", "recipientValue": "x"},
                "Invalid email value",
            ),
            ("otp/bob.eth", {"notificationChannelType": "EMAIL"}, "Global notifications is off"),
            ("otp/verify/bob.eth", {}, "Notification Channel Type is missing"),
            ("channel/bob.eth", {"notificationChannelType": "PUSH"}, "Global notifications is off"),
        ):
            assert await told("POST", path, body) == (400, words), path
        assert await told("DELETE", "channel/EMAIL/bob.eth") == (400, "Global notifications is off")
        assert await told("DELETE", "bob.eth") == (400, "Notification Channel Type is missing")
        for method, path in (
            ("GET", "bob.eth"),
            ("POST", "bob.eth"),
            ("DELETE", "channel/X/bob.eth"),
        ):
            answer = await post.client.request(method, f"/dm3/notifications/{path}")
            assert answer.status_code == 401


# per address


def scope_of(host: str, path: str = "/dm3/hello"):
    return {
        "type": "http",
        "client": (host, 1234),
        "path": path,
        "method": "GET",
        "headers": [],
        "query_string": b"",
        "scheme": "http",
    }


@pytest.mark.parametrize(
    ("client", "forwarded", "host"),
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),  # nobody else is believed
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "", ""),
        ("::1", "127.0.0.1", ""),
        ("2001:db8:1:2:3::4", "", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "", "192.0.2.7"),
        ("127.0.0.1", "unknown", "unknown"),
    ],
)
def test_under_which_name_a_request_is_counted(client, forwarded, host):
    headers = Headers({"x-forwarded-for": forwarded} if forwarded else {})
    assert remote_host(scope_of(client), headers) == host


async def status_of(front: PublicFront, host: str) -> int:
    seen: list[int] = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            seen.append(message["status"])

    await front(scope_of(host), receive, send)
    (status,) = seen
    return status


class Wire(asyncio.Transport):
    """A connection of nobody in particular."""

    def __init__(self, host: str) -> None:
        super().__init__({"peername": (host, 1), "sockname": ("192.0.2.1", 80)})
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@in_loop
async def test_connections_of_one_ipv6_network_are_of_one_address():
    front = PublicFront({}, lambda *_: None)
    config = uvicorn.Config(front, log_config=None)
    config.load()
    made = _counting(2)
    wires = [Wire(host) for host in ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::")]
    protocols = [made(config, ServerState(), {}) for _ in wires]
    for protocol, wire in zip(protocols, wires, strict=True):
        protocol.connection_made(wire)
    assert [wire.closed for wire in wires] == [False, False, True, False]
    for protocol in protocols:
        protocol.connection_lost(None)


@in_loop
async def test_one_address_asks_only_so_much(tmp_path, monkeypatch):
    monkeypatch.setattr(public, "PUBLIC_REQUESTS_BURST_MAX", 3)
    async with post_office(tmp_path) as post:
        found = [await status_of(post.front, "192.0.2.7") for _ in range(4)]
        assert found == [200, 200, 200, 429]
        assert await status_of(post.front, "192.0.2.8") == 200
        assert [await status_of(post.front, "127.0.0.1") for _ in range(9)] == [200] * 9


def test_rates_have_two_sides_and_a_bound() -> None:
    rates = Rates(10, 3, 2)
    assert [rates.take("a", 0) for _ in range(3)] == [0, 0, 0]
    assert rates.take("a", 0) == 100_000
    assert rates.take("a", 99_999) == 1
    assert rates.take("a", 100_000) == 0
    assert rates.take("a", 100_000) > 0
    assert (rates.take("b", 0), rates.take("c", 0)) == (0, 0)  # now "a" is forgotten
    assert rates.take("a", 100_000) == 0
    assert len(rates._due) == 2


@in_loop
async def test_announced_and_hidden_sizes(tmp_path):
    async with post_office(tmp_path) as post:

        async def pieces():
            for _ in range(limits.PUBLIC_BODY_BYTES_MAX // 65_536 + 1):
                yield b"x" * 65_536

        answer = await post.client.post("/dm3/rpc", content=pieces())
        assert answer.status_code == 413
        answer = await post.client.post(
            "/dm3/rpc", content=b"{}", headers={"Content-Length": "many"}
        )
        assert answer.status_code == 400
