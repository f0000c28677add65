"""Names of ENS on a real EVM: records, wildcards, gateways, reverse; through and without the UR."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from dms3.core.errors import Dms3Error, Failure
from dms3.core.limits import NAME_FRESH_US
from dms3.dm3.canonical import canonical
from dms3.dm3.lookup import Resolved
from dms3.dm3.outside import LookUpName
from dms3.dm3.records import (
    PROFILE_KEY,
    SERVICE_KEY,
    data_uri,
    data_uri_base64,
    link_uri,
)
from dms3.libp2p.multiaddr import Multiaddr
from dms3.node.outside import name_ports
from interop.dm3_peer import call, with_reference
from interop.ens_chain import Names, Web, anvil, web
from unit.names.names_kit import ALICE, BOB, EVE, World

pytestmark = pytest.mark.interop

HERE = (Multiaddr.parse("/ip4/127.0.0.1/tcp/7701"),)  # a node of a network on this machine
OUTSIDE = (Multiaddr.parse("/ip4/0.0.0.0/tcp/7701"),)


@pytest.fixture(scope="module")
def names() -> Iterator[Names]:
    with anvil() as chain:
        made = Names(chain)
        made.register("bob.eth")
        made.set_address("bob.eth", BOB.account.address)
        made.set_text("bob.eth", PROFILE_KEY, data_uri(BOB.profile("ds.eth").text()))
        made.register("ds.eth")
        made.set_text("ds.eth", SERVICE_KEY, data_uri(EVE.service().text()))
        yield made


@pytest.fixture(params=[True, False], ids=["universal", "registry"])
def way(names: Names, request: pytest.FixtureRequest) -> Iterator[Names]:
    """Both ways to a record: the universal resolver, and the registry where there is none."""
    names.with_universal(request.param)
    yield names
    names.with_universal(True)


@pytest.fixture
def place() -> Iterator[Web]:
    with web() as served:
        yield served


@contextlib.contextmanager
def world(urls: list[str], listening: tuple[Multiaddr, ...] = HERE) -> Iterator[World]:
    """Alice's machine names with the real ports."""
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        ports = runner.run(stack.enter_async_context(name_ports(urls, lambda: listening)))

        def port(full: str) -> Any:
            name, operation = full.split(".")

            def answered(arguments: Any) -> Any:
                try:
                    return runner.run(ports[name](operation, arguments))
                except Dms3Error as error:
                    return Failure.of(error)

            return answered

        made = World(ALICE)
        asked = ("ethereum.name", "ethereum.reverse", "ethereum.nonce", "ethereum.balance")
        for full in (*asked, "ethereum.token_balance", "web.fetch"):
            made.ports[full] = port(full)
        try:
            yield made
        finally:
            runner.run(stack.aclose())


def found(answer: object) -> Resolved:
    assert isinstance(answer, Resolved), answer
    return answer


def failed(answer: object, code: str) -> str:
    assert isinstance(answer, Failure), answer
    assert answer.code == code, answer
    return answer.message


def test_a_profile_of_ens_is_believed_for_the_signature_of_its_account(way: Names) -> None:
    with world([way.chain.url]) as alice:
        bob = found(alice.resolve("BOB.eth"))
        assert (bob.name, bob.vouched, bob.root) == ("bob.eth", "ens", "")
        assert bob.address == BOB.account.address
        assert bob.profile == BOB.profile("ds.eth")
        assert found(alice.resolve("ds.eth")).service == EVE.service()
        failed(alice.resolve("nobody.eth"), "not_found")
        way.register("eve.eth")
        way.set_address("eve.eth", EVE.account.address)
        way.set_text("eve.eth", PROFILE_KEY, data_uri(BOB.profile("ds.eth").text()))
        assert "not signed by" in failed(alice.resolve("eve.eth"), "content_invalid")


def test_a_changed_record_is_seen_within_the_time(names: Names) -> None:
    names.register("carol.eth")
    names.set_address("carol.eth", BOB.account.address)
    names.set_text("carol.eth", PROFILE_KEY, data_uri(BOB.profile("one.eth").text()))
    with world([names.chain.url]) as alice:
        assert found(alice.resolve("carol.eth")).profile == BOB.profile("one.eth")
        names.set_text("carol.eth", PROFILE_KEY, data_uri(BOB.profile("two.eth").text()))
        alice.run(NAME_FRESH_US - 1)
        assert found(alice.resolve("carol.eth")).profile == BOB.profile("one.eth")
        alice.run(1)
        assert found(alice.resolve("carol.eth")).profile == BOB.profile("two.eth")


def test_a_wildcard_name_comes_from_a_gateway_on_loopback_only_in_a_local_network(
    way: Names, place: Web
) -> None:
    """ENSIP-10 and ERC-3668, with the contract of ENS itself."""
    way.register("off.eth", way.offchain(place.gateway))
    place.addresses["bob.off.eth"] = BOB.account.address
    place.texts["bob.off.eth", PROFILE_KEY] = data_uri(BOB.profile("ds.eth").text())
    with world([way.chain.url]) as alice:
        bob = found(alice.resolve("bob.off.eth"))
        assert (bob.address, bob.profile) == (BOB.account.address, BOB.profile("ds.eth"))
        assert place.asked
    place.asked.clear()
    with world([way.chain.url], OUTSIDE) as alice:
        assert "https" in failed(alice.resolve("bob.off.eth"), "peer_refused")
        assert not place.asked


def test_what_a_gateway_makes_up_is_refused_by_the_contract(way: Names, place: Web) -> None:
    way.register("lies.eth", way.offchain(place.gateway))
    place.addresses["bob.lies.eth"] = EVE.account.address
    place.signer = b"x" * 32
    with world([way.chain.url]) as alice:
        text = failed(alice.resolve("bob.lies.eth"), "content_invalid")
        assert "do not accept what its gateway says" in text


@pytest.mark.parametrize("form", [data_uri, data_uri_base64])
def test_record_forms_within_the_record(names: Names, form: Any) -> None:
    names.register("form.eth")
    names.set_address("form.eth", BOB.account.address)
    names.set_text("form.eth", PROFILE_KEY, form(BOB.profile("ds.eth").text()))
    with world([names.chain.url]) as alice:
        assert found(alice.resolve("form.eth")).profile == BOB.profile("ds.eth")


def test_a_record_that_links_is_believed_for_its_hash_and_leads_into_no_private_network(
    names: Names, place: Web
) -> None:
    text = BOB.profile("ds.eth").text()
    names.register("link.eth")
    names.set_address("link.eth", BOB.account.address)
    names.set_text("link.eth", PROFILE_KEY, link_uri(f"{place.url}/profile", text))
    path = link_uri("/profile", text)
    place.pages[path] = (200, text.encode())
    with world([names.chain.url]) as alice:
        assert found(alice.resolve("link.eth")).profile == BOB.profile("ds.eth")
        place.pages[path] = (200, canonical(EVE.profile("ds.eth").value()).encode())
        failed(alice.resolve("link.eth", fresh=True), "content_invalid")
        place.pages[path] = (200, text.encode() + b" " * 10_000)
        failed(alice.resolve("link.eth", fresh=True), "content_invalid")
        place.pages[path] = (302, b"")
        failed(alice.resolve("link.eth", fresh=True), "peer_misbehaved")
        place.pages[path] = (404, b"")
        failed(alice.resolve("link.eth", fresh=True), "content_unavailable")
    place.asked.clear()
    with world([names.chain.url], OUTSIDE) as alice:
        assert "no public one" in failed(alice.resolve("link.eth"), "peer_refused")
        assert not place.asked


def test_an_account_is_known_by_the_name_that_leads_back_to_it(names: Names) -> None:
    names.with_universal(False)  # ours has no reverse
    try:
        names.set_name(BOB.account.address, "bob.eth")
        names.set_name(EVE.account.address, "bob.eth")
        with world([names.chain.url]) as alice:
            bob = found(alice.resolve(BOB.account.address.lower()))
            assert (bob.name, bob.vouched) == (BOB.account.address, "ens")
            assert (bob.profile, bob.aliases) == (BOB.profile("ds.eth"), ("bob.eth",))
            eve = found(alice.resolve(EVE.account.address))
            assert (eve.profile, eve.aliases) == (None, ())
    finally:
        names.with_universal(True)


def test_a_name_of_ens_is_mine_when_it_leads_to_my_account(names: Names) -> None:
    names.register("alice.eth")
    names.set_address("alice.eth", ALICE.account.address)
    with world([names.chain.url]) as alice:
        found(alice.call("add", "alice.eth"))
        assert alice.call("use", "alice.eth").primary == "alice.eth"
        text = failed(alice.call("add", "bob.eth"), "forbidden")
        assert BOB.account.address in text
        assert ALICE.account.address in text


def test_names_that_look_like_others_are_no_names_or_are_written_alike(names: Names) -> None:
    with world([names.chain.url]) as alice:
        failed(alice.resolve("b\N{CYRILLIC SMALL LETTER O}b.eth"), "argument_invalid")
        wide = "\N{FULLWIDTH LATIN SMALL LETTER B}ob.eth"
        assert found(alice.resolve(wide)).name == "bob.eth"


def test_accounts_for_the_rules_of_a_delivery_service(names: Names) -> None:
    with world([names.chain.url]) as alice:
        account = names.chain.account
        assert alice.ports["ethereum.nonce"](account) > 10
        assert alice.ports["ethereum.balance"](account) > 10**18
        assert alice.ports["ethereum.nonce"](EVE.account.address) == 0
        assert alice.ports["ethereum.balance"](EVE.account.address) == 0


def test_a_node_that_does_not_answer_is_named_and_the_next_one_asked(names: Names) -> None:
    closed = "http://127.0.0.1:9"
    with world([closed]) as alice:
        text = failed(alice.resolve("bob.eth"), "peer_unreachable")
        assert text.startswith("The Ethereum node at 127.0.0.1:9 did not answer")
    with world([closed, names.chain.url]) as alice:
        assert found(alice.resolve("bob.eth")).address == BOB.account.address
    with world([]) as alice:
        assert "ethereum = " in failed(alice.resolve("bob.eth"), "peer_unreachable")


def test_the_reference_reads_the_same_profile_from_the_same_chain(names: Names) -> None:
    async def work(js: Any) -> None:
        provider = {"$provider": names.chain.url}
        theirs = await call(js, "profile", "getUserProfile", provider, "bob.eth")
        assert theirs == BOB.profile("ds.eth").value()

    with_reference(work)


def test_every_question_is_counted(names: Names) -> None:
    """One look-up of a name without gateways: three calls, no more."""
    before = LookUpName("bob.eth", (PROFILE_KEY, SERVICE_KEY))
    with world([names.chain.url]) as alice:
        answer = alice.ports["ethereum.name"](before)
        assert answer.address == BOB.account.address
        assert answer.texts[1] == ""
