"""The dm3 reference's own libraries (npm 1.7.1) as clients of a real `dms3 up --role delivery`.

Names are those of ENS on a local chain. The client registers, logs in, submits (the older form of
envelope), is pushed to, fetches, opens, and acknowledges; nothing remains.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from dms3.crypto.keys import address_of
from dms3.dm3.canonical import encode_base64
from dms3.dm3.envelope import decode_envelope, enclose, open_envelope
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.message import MessageType, compose
from dms3.dm3.postmark import is_postmark_by, open_postmark
from dms3.dm3.profile import ServiceProfile, decode_service_profile, sign_profile
from dms3.dm3.records import PROFILE_KEY, SERVICE_KEY, data_uri
from interop.dm3_peer import call, with_reference
from interop.ens_chain import Names, anvil
from interop.peer import need
from network.running import running
from unit.dm3_kit import Stream, profile_of

pytestmark = pytest.mark.interop


@dataclass(frozen=True)
class Person:
    """Somebody of ENS, with a wallet and the keys of a profile."""

    name: str
    number: int

    @property
    def wallet(self) -> bytes:
        return bytes([self.number]) * 32

    @property
    def keys(self) -> ProfileKeys:
        return ProfileKeys.of_seed(bytes([self.number + 50]) * 32)

    @property
    def signed(self):
        return sign_profile(self.wallet, profile_of(self.keys, "ds.eth"))

    def theirs(self) -> dict[str, dict[str, str]]:
        """The keys as the reference's functions take them."""
        keys = self.keys
        return {
            "encryptionKeyPair": {
                "publicKey": encode_base64(keys.encryption_public),
                "privateKey": encode_base64(keys.encryption_secret),
            },
            "signingKeyPair": {
                "publicKey": encode_base64(keys.signing_public),
                "privateKey": encode_base64(keys.signing_secret),
            },
        }


ALICE, BOB = Person("alice.eth", 1), Person("bob.eth", 2)


@dataclass(frozen=True)
class Place:
    """A running service: its URL, profile, and the chain with everybody's names."""

    url: str
    profile: ServiceProfile
    chain: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    need("dm3")
    home = tmp_path_factory.mktemp("service") / "home"
    with contextlib.ExitStack() as stack:
        names = Names(stack.enter_context(anvil()))
        words = ("--role", "delivery", "--public", "127.0.0.1:0", "--ethereum", names.chain.url)
        node = stack.enter_context(running(home, *words))
        profile = service_of(node)
        for person in (ALICE, BOB):
            names.register(person.name)
            names.set_address(person.name, address_of(person.wallet))
            names.set_text(person.name, PROFILE_KEY, data_uri(person.signed.text()))
        names.register("ds.eth")
        names.set_text("ds.eth", SERVICE_KEY, data_uri(profile.text()))
        yield Place(profile.url, profile, names.chain.url)


def service_of(node) -> ServiceProfile:
    """What the operator is shown."""
    headers = {"Authorization": f"Bearer {node.token}"}
    url = f"http://{node.data['api']}/api/v1/delivery/status"
    status = httpx.post(url, headers=headers, trust_env=False).json()["data"]
    assert status["url"] == f"http://{node.data['public']}/dm3"
    return decode_service_profile(json.loads(status["record"].partition(",")[2]))


async def http(js, method: str, url: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    """A request as axios makes it."""
    answer = await js.command("http", method=method, url=url, body=body, token=token)
    return answer["status"], answer["data"]


async def logged_in(js, place: Place, person: Person) -> str:
    """A session, by the reference's signature of the challenge."""
    status, _ = await http(js, "POST", f"{place.url}/profile/{person.name}", person.signed.value())
    assert status == 200
    url = f"{place.url}/auth/{person.name}"
    status, challenge = await http(js, "GET", url)
    assert status == 200
    secret = person.theirs()["signingKeyPair"]["privateKey"]
    signature = await call(js, "crypto", "sign", secret, challenge)
    status, token = await http(js, "POST", url, {"challenge": challenge, "signature": signature})
    assert status == 200
    assert isinstance(token, str)
    return token


async def written(js, place: Place, text: str, by: Person, to: Person) -> Any:
    """An envelope as the reference's client makes it, after it looked everything up in ENS."""
    secret = by.theirs()["signingKeyPair"]["privateKey"]
    message = await call(js, "messaging", "createMessage", to.name, by.name, text, secret)
    provider = {"$provider": place.chain}
    made = await call(js, "messaging", "createEnvelop", message, provider, by.theirs(), {"$get": 1})
    return made["encryptedEnvelop"]


async def submitted(js, place: Place, envelope: Any) -> tuple[int, Any]:
    body = {
        "jsonrpc": "2.0",
        "method": "dm3_submitMessage",
        "params": [json.dumps(envelope), ""],
    }
    return await http(js, "POST", f"{place.url}/rpc", body)


async def acknowledged(js, place: Place, person: Person, token: str, found: Any) -> None:
    acks = [
        {
            "contactAddress": one["metadata"]["deliveryInformation"]["from"],
            "messageHash": one["metadata"].get("encryptedMessageHash")
            or one["metadata"]["messageHash"],
        }
        for one in found
    ]
    url = f"{place.url}/delivery/messages/{person.name}/syncAcknowledgements/"
    assert (await http(js, "POST", url, {"acknowledgements": acks}, token))[0] == 200


def test_their_clients_write_to_each_other_through_our_service(place):
    async def work(js):
        token = await logged_in(js, place, BOB)
        origin = place.url.removesuffix("/dm3")
        await js.command("connect", url=origin, name=BOB.name, token=token, path="/dm3/socket.io")
        assert (await js.event("authorized"))["name"] == BOB.name

        envelope = await written(js, place, "Hello Bob 🎉", ALICE, BOB)
        assert "encryptedMessageHash" in envelope["metadata"]
        assert await submitted(js, place, envelope) == (200, "OK")

        pushed = (await js.event("message"))["data"]
        url = f"{place.url}/delivery/messages/incoming/{BOB.name}"
        status, found = await http(js, "GET", url, token=token)
        assert (status, found) == (200, [pushed])

        pair = BOB.theirs()["encryptionKeyPair"]
        opened = json.loads(
            await call(js, "crypto", "decryptAsymmetric", pair, json.loads(found[0]["message"]))
        )
        assert opened["message"] == "Hello Bob 🎉"
        public = ALICE.theirs()["signingKeyPair"]["publicKey"]
        assert await call(js, "messaging", "checkMessageSignature", opened, public, ALICE.name)
        postmark = await call(
            js, "crypto", "decryptAsymmetric", pair, json.loads(found[0]["postmark"])
        )
        assert set(json.loads(postmark)) == {"incommingTimestamp", "messageHash", "signature"}

        await acknowledged(js, place, BOB, token, found)
        assert await http(js, "GET", url, token=token) == (200, [])
        await js.command("disconnect", name=BOB.name)

    with_reference(work)


def test_a_socket_of_theirs_submits_and_takes_the_whole_url_for_a_namespace(place):
    async def work(js):
        token = await logged_in(js, place, BOB)
        # Given the service's URL, their client takes /dm3 for a namespace of /socket.io.
        await js.command("connect", url=place.url, name=BOB.name, token=token)
        await js.event("authorized")
        envelope = await written(js, place, "by socket", ALICE, BOB)
        data = {"envelop": envelope, "token": token}
        answer = await js.command("emit", name=BOB.name, event="submitMessage", data=data)
        assert answer["answer"] == {"response": "success"}
        pushed = (await js.event("message"))["data"]
        await acknowledged(js, place, BOB, token, [pushed])
        data = {"envelop": {"message": "x"}, "token": token}
        answer = await js.command("emit", name=BOB.name, event="submitMessage", data=data)
        assert answer["answer"] == {"error": "invalid schema"}
        await js.command("disconnect", name=BOB.name)

    with_reference(work)


@pytest.mark.parametrize("legacy", [True, False])
def test_what_we_write_their_client_fetches_and_opens(place, legacy):
    message = compose(
        ALICE.keys,
        sender=ALICE.name,
        receiver=BOB.name,
        sent_ms=1_700_000_000_000,
        type=MessageType.NEW,
        text="ours, zażółć",
        attachments=(),
        reference=None,
    )
    to = BOB.signed.profile
    envelope = enclose(message, ALICE.keys, to, place.profile, Stream(1), legacy=legacy)

    async def work(js):
        token = await logged_in(js, place, BOB)
        assert await submitted(js, place, envelope.value()) == (200, "OK")
        url = f"{place.url}/delivery/messages/incoming/{BOB.name}"
        _, found = await http(js, "GET", url, token=token)
        pair = BOB.theirs()["encryptionKeyPair"]
        opened = json.loads(
            await call(js, "crypto", "decryptAsymmetric", pair, json.loads(found[0]["message"]))
        )
        assert opened == message.value()
        got = decode_envelope(found[0])
        assert open_envelope(BOB.keys.encryption_secret, got) == message
        postmark = open_postmark(BOB.keys.encryption_secret, got)
        assert is_postmark_by(postmark, got, place.profile.signing)
        await acknowledged(js, place, BOB, token, found)

    with_reference(work)


def test_what_the_service_says_of_itself_is_read_by_their_client(place):
    async def work(js):
        await logged_in(js, place, BOB)
        body = {"jsonrpc": "2.0", "method": "dm3_getDeliveryServiceProperties", "params": []}
        status, data = await http(js, "POST", f"{place.url}/rpc", body)
        assert status == 200
        assert json.loads(data["result"])["sizeLimit"] == 100_000
        status, data = await http(js, "GET", f"{place.url}/profile/{BOB.name}")
        assert (status, data) == (200, BOB.signed.value())

    with_reference(work)


def test_a_forged_sender_is_told_so(place):
    async def work(js):
        await logged_in(js, place, BOB)
        mallory = Person(ALICE.name, 9)  # alice's name, other keys
        secret = mallory.theirs()["signingKeyPair"]["privateKey"]
        message = await call(
            js, "messaging", "createMessage", BOB.name, ALICE.name, "not alice", secret
        )
        provider = {"$provider": place.chain}
        made = await call(
            js, "messaging", "createEnvelop", message, provider, mallory.theirs(), {"$get": 1}
        )
        status, data = await submitted(js, place, made["encryptedEnvelop"])
        assert status == 400
        assert "not signed with the key in the profile of alice.eth" in data["error"]["message"]

    with_reference(work)
