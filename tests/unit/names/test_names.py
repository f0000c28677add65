"""Machine names: who a name is, in order of precedence; what is believed, and for how long."""

import json
from pathlib import Path

import pytest

from dms3.core.cid import DAG_PB, RAW, Cid
from dms3.core.dag_pb import Node, encode_node
from dms3.core.errors import Failure
from dms3.core.limits import NAME_FRESH_US, NAME_MISSING_US, NAMES_LOOKUPS_MAX
from dms3.core.machine import Withdrawn
from dms3.core.varint import encode_varint
from dms3.dm3.lookup import Published, Resolve, Resolved
from dms3.dm3.outside import NameOnChain
from dms3.dm3.profile import fingerprint
from dms3.names.finding import Known
from dms3.names.forms import key_name
from unit.names.names_kit import ALICE, BOB, EVE, WALL_US, World, claimed, gets

PATH = Path(__file__).parents[2] / "vectors/dm3/15-profile-resolution.json"
VECTORS = json.loads(PATH.read_text())
BOB_KEY = key_name(BOB.root.public)


def found(answer: object) -> Resolved:
    assert isinstance(answer, Resolved), answer
    return answer


def failed(answer: object, code: str) -> str:
    assert isinstance(answer, Failure), answer
    assert answer.code == code
    return answer.message


def test_the_name_that_is_a_key_leads_to_the_profile_its_account_has_signed() -> None:
    world = World()
    world.put(BOB.record())
    bob = found(world.resolve(BOB_KEY.upper()))
    assert bob.name == BOB_KEY
    assert bob.vouched == "address"
    assert bob.address == BOB.account.address
    assert bob.profile == BOB.profile("ds.dms3")
    assert bob.fingerprint == fingerprint(BOB.profile("ds.dms3").profile)
    assert bob.root == BOB.root.public.hex()
    assert bob.until_us == WALL_US + NAME_FRESH_US


def test_what_a_person_calls_their_contact_is_that_contact() -> None:
    world = World()
    world.put(BOB.record())
    known = Known(BOB.root.public, "Bob")
    world.contacts = {"bob": known, BOB.root.public.hex(): known}
    bob = found(world.resolve("bob"))
    assert (bob.name, bob.vouched) == (BOB_KEY, "card")
    assert found(world.resolve(BOB_KEY)).vouched == "card"
    text = failed(world.resolve("carol"), "not_found")
    assert "None of your contacts is called 'carol'" in text


def test_a_card_that_calls_itself_bob_eth_is_not_bob_eth() -> None:
    """Whoever wrote the card chose the name on it."""
    world = World()
    world.put(EVE.record())
    world.contacts = {"bob.eth": Known(EVE.root.public, "bob.eth")}
    assert "Ethereum" in failed(world.resolve("bob.eth"), "peer_unreachable")


def test_a_contact_without_a_profile_is_named() -> None:
    world = World()
    world.contacts = {"bob": Known(BOB.root.public, "Bob")}
    text = failed(world.resolve("bob"), "not_found")
    assert "Your contact Bob has not published a profile yet" in text


def test_nobody_has_published_is_another_answer_than_nobody_answers() -> None:
    world = World()
    text = failed(world.resolve(BOB_KEY), "not_found")
    assert text == f"Nobody has published a profile for {BOB_KEY}."
    world.nodes = 0
    assert "no other node" in failed(world.resolve(BOB_KEY, fresh=True), "peer_unreachable")
    world.ports["dht.get"] = lambda _: Failure("timed_out", "it took too long")
    assert "it took too long" in failed(world.resolve(BOB_KEY, fresh=True), "timed_out")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "one line of 1 to 255"),
        ("a" * 300, "one line of 1 to 255"),
        ("al.dms3", "3 to 48 characters"),
        ("a.b.dms3", "one part before"),
        ("al_ce.dms3", "the letters a to z"),
        ("älice.dms3", "the letters a to z"),
        (BOB_KEY[:-6] + "8" + BOB_KEY[-5:], "mistyped"),
        ("0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2a", "checksum"),
        ("bob\u202e.eth", "one line"),
        ("bo..eth", "cannot be a name"),
        ("al_ce.eth", "cannot be a name"),
    ],
)
def test_what_is_no_name(text: str, why: str) -> None:
    assert why in failed(World().resolve(text), "argument_invalid")


def test_a_profile_that_the_account_has_not_signed_is_refused() -> None:
    world = World()
    world.put(BOB.record(profile=EVE.profile("evil.dms3").text().encode()))
    text = failed(world.resolve(BOB_KEY), "content_invalid")
    assert f"not signed by {BOB.account.address}" in text


def test_a_record_that_is_no_profile_is_refused() -> None:
    world = World()
    world.put(BOB.record(profile=b'{"profile":1}'))
    assert "profile of" in failed(world.resolve(BOB_KEY), "content_invalid")
    world = World()
    world.put(BOB.record(profile=b"", service=b"[" * 3_000))
    assert "not valid" in failed(world.resolve(BOB_KEY), "content_invalid")


def test_an_answer_is_kept_and_a_changed_record_is_seen_within_its_time() -> None:
    world = World()
    world.put(BOB.record(sequence=1))
    before = found(world.resolve(BOB_KEY))
    world.values.clear()
    world.put(BOB.record(sequence=2, profile=BOB.profile("other.dms3").text().encode()))
    world.run(NAME_FRESH_US - 1)
    assert found(world.resolve(BOB_KEY)).profile == before.profile
    assert gets(world, "profile") == 1
    world.run(1)
    assert found(world.resolve(BOB_KEY)).profile == BOB.profile("other.dms3")
    assert gets(world, "profile") == 2


def test_fresh_does_not_take_what_is_kept_and_renews_it() -> None:
    world = World()
    world.put(BOB.record())
    world.resolve(BOB_KEY)
    world.values.clear()
    world.put(BOB.record(sequence=2, profile=BOB.profile("other.dms3").text().encode()))
    assert found(world.resolve(BOB_KEY, fresh=True)).profile == BOB.profile("other.dms3")
    assert found(world.resolve(BOB_KEY)).profile == BOB.profile("other.dms3")


def test_that_nothing_is_there_is_believed_for_less_time() -> None:
    world = World()
    failed(world.resolve(BOB_KEY), "not_found")
    world.put(BOB.record())
    world.run(NAME_MISSING_US - 1)
    failed(world.resolve(BOB_KEY), "not_found")
    world.run(1)
    found(world.resolve(BOB_KEY))
    assert NAME_MISSING_US < NAME_FRESH_US


def test_one_look_up_answers_everybody_who_waits_for_the_name() -> None:
    world = World()
    world.put(BOB.record())
    world.held_back = []
    asked = [world.ask("resolve", Resolve(BOB_KEY)) for _ in range(3)]
    assert len(world.held_back) == 1
    world.event(Withdrawn(asked[1]))
    world.release()
    assert [each in world.replies for each in asked] == [True, False, True]


def test_look_ups_beyond_the_bound_wait_for_their_turn() -> None:
    world = World()
    world.held_back = []
    names = [f"name{number}.eth" for number in range(NAMES_LOOKUPS_MAX + 1)]
    asked = [world.ask("resolve", Resolve(name)) for name in names]
    assert len(world.held_back) == NAMES_LOOKUPS_MAX
    world.release()
    assert all(each in world.replies for each in asked)


def test_own_profile_is_known_without_asking_and_published_under_the_key() -> None:
    world = World()
    assert world.publish("ds.dms3") == Published(8)
    mine = key_name(ALICE.root.public)
    asked = gets(world, "profile")
    assert found(world.resolve(mine)).profile == ALICE.profile("ds.dms3")
    assert gets(world, "profile") == asked
    names = world.call("own")
    assert (names.primary, names.key_name, names.names) == (mine, mine, (mine,))
    assert names.service_name == key_name(ALICE.node.public)
    other = World(BOB)
    other.values = world.values
    assert found(other.resolve(mine)).address == ALICE.account.address


def test_a_delivery_service_is_found_by_the_key_of_its_node() -> None:
    world = World()
    world.publish("ds.dms3", service=ALICE.service())
    other = World(BOB)
    other.values = world.values
    service = found(other.resolve(key_name(ALICE.node.public)))
    assert service.service == ALICE.service()
    assert (service.profile, service.address) == (None, "")


def test_records_are_put_again_soon_while_few_nodes_hold_them_then_twice_a_day() -> None:
    world = World()
    world.nodes = 3
    world.publish("ds.dms3")

    def puts() -> int:
        return sum(port == "dht.put" for port, _ in world.asked)

    first = puts()
    world.run(30_000_000)
    assert puts() >= first + 3
    world.nodes = 8
    world.run(1_300_000_000)
    settled = puts()
    world.run(11 * 3_600_000_000)
    assert puts() == settled
    world.run(2 * 3_600_000_000)
    assert puts() == settled + 1


def test_records_are_put_again_after_a_restart_with_a_higher_sequence() -> None:
    world = World()
    world.publish("ds.dms3")
    (one,) = world.values.values()
    world.start()
    world.run(3_000_000)
    (two,) = world.values.values()
    assert one != two or sum(port == "dht.put" for port, _ in world.asked) == 2
    other = World(BOB)
    other.values, other.now = world.values, world.now
    assert found(other.resolve(key_name(ALICE.root.public))).profile == ALICE.profile("ds.dms3")


def test_a_later_profile_of_another_device_is_not_overwritten_by_renewal() -> None:
    world = World()
    world.publish("old.dms3")
    later = ALICE.profile("new.dms3").text().encode()
    world.values.clear()
    world.put(ALICE.record(profile=later, sequence=WALL_US + 10**9))
    world.run(13 * 3_600_000_000)
    other = World(BOB)
    other.values, other.now = world.values, world.now
    assert found(other.resolve(key_name(ALICE.root.public))).profile == ALICE.profile("new.dms3")


def test_a_name_is_claimed_and_leads_to_the_profile() -> None:
    world = World()
    world.publish("ds.dms3")
    mine = found(world.call("claim", "Alice.dms3"))
    assert (mine.name, mine.vouched) == ("alice.dms3", "dms3")
    assert world.call("own").primary == "alice.dms3"
    assert world.notes[-1].data["primary"] == "alice.dms3"
    other = World(BOB)
    other.values = world.values
    alice = found(other.resolve("alice.dms3"))
    assert alice.profile == ALICE.profile("ds.dms3")
    assert alice.aliases == (key_name(ALICE.root.public),)
    assert "alice.dms3 is taken" in failed(other.call("claim", "alice.dms3"), "already_exists")


def test_only_first_come_names_can_be_claimed_and_not_alone() -> None:
    world = World()
    assert "alice.dms3" in failed(world.call("claim", "alice.eth"), "argument_invalid")
    world.nodes = 0
    failed(world.call("claim", "alice.dms3"), "peer_unreachable")


def test_a_claimed_name_without_a_profile_is_a_name() -> None:
    world = World()
    world.put(claimed(BOB, "bob.dms3"))
    bob = found(world.resolve("bob.dms3"))
    assert (bob.profile, bob.address, bob.root) == (None, "", BOB.root.public.hex())


def test_of_two_claims_the_one_that_most_nodes_hold_counts() -> None:
    world = World()
    world.put(claimed(BOB, "bob.dms3"), holders=4)
    world.put(claimed(EVE, "bob.dms3"), holders=1)
    assert found(world.resolve("bob.dms3")).root == BOB.root.public.hex()
    world = World()
    world.put(claimed(BOB, "bob.dms3"), holders=2)
    world.put(claimed(EVE, "bob.dms3"), holders=2)
    assert "no claim is held by most" in failed(world.resolve("bob.dms3"), "content_invalid")


def test_a_name_that_changes_hands_is_not_followed_silently() -> None:
    world = World()
    world.put(claimed(BOB, "bob.dms3"))
    found(world.resolve("bob.dms3"))
    world.start()
    world.values.clear()
    world.put(claimed(EVE, "bob.dms3"))
    text = failed(world.resolve("bob.dms3"), "content_invalid")
    assert "is now claimed by another" in text
    assert "name forget bob.dms3" in text
    assert world.call("forget", "bob.dms3") is True
    assert world.call("forget", "bob.dms3") is False
    assert found(world.resolve("bob.dms3")).root == EVE.root.public.hex()


def test_the_first_owner_counts_though_most_nodes_hold_another_claim() -> None:
    world = World()
    world.put(claimed(BOB, "bob.dms3"))
    found(world.resolve("bob.dms3"))
    world.put(claimed(EVE, "bob.dms3"), holders=7)
    assert found(world.resolve("bob.dms3", fresh=True)).root == BOB.root.public.hex()


def test_a_lost_name_is_no_longer_used_and_comes_back() -> None:
    world = World()
    world.publish("ds.dms3")
    world.call("claim", "alice.dms3")
    key = next(key for key in world.values if key[0] == "name")
    kept = world.values[key]
    world.values[key] = []
    world.put(claimed(EVE, "alice.dms3", world.now.wall_us))
    world.run(13 * 3_600_000_000)
    assert world.call("own").primary == key_name(ALICE.root.public)
    world.values[key] = kept
    world.run(13 * 3_600_000_000)
    assert world.call("own").primary == "alice.dms3"


def test_names_are_used_and_given_up() -> None:
    world = World()
    mine = key_name(ALICE.root.public)
    world.call("claim", "alice.dms3")
    world.call("claim", "alice2.dms3")
    assert world.call("own").names == ("alice.dms3", "alice2.dms3", mine)
    assert world.call("use", "alice2.dms3").primary == "alice2.dms3"
    assert world.call("drop", "alice2.dms3").names == (mine, "alice.dms3")
    assert world.call("use", "Alice.dms3").primary == "alice.dms3"
    failed(world.call("use", "bob.dms3"), "not_found")
    failed(world.call("drop", mine), "argument_invalid")
    world.start()
    assert world.call("own").names == ("alice.dms3", mine)


def ens(world: World, text: str, *, address: str = BOB.account.address) -> None:
    """`bob.eth` has this record."""
    answer = NameOnChain(address, (text, ""))
    world.ports["ethereum.name"] = lambda _: answer


def test_records_as_the_reference_reads_them() -> None:
    """Vectors of the reference; percent-encoded data, which only it refuses, is read here."""
    address = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
    served = json.dumps(VECTORS["served_over_http"]).encode()
    read = {"ok"}
    seen = 0
    for case, vector in VECTORS["cases"].items():
        if "text_record" not in vector:
            continue
        world = World()
        ens(world, vector["text_record"].replace("HOST", "host.example"), address=address)
        world.ports["web.fetch"] = lambda _: served
        answer = world.resolve("bob.eth")
        if vector["result"] in read or case == "data_urlencoded":
            assert found(answer).profile is not None, case
            seen += 1
        else:
            failed(answer, "content_invalid")
    assert seen == 6


def test_content_on_ipfs_is_believed_for_its_cid() -> None:
    text = BOB.profile("ds.eth").text().encode()
    size = encode_varint(len(text))
    wrapped = encode_node(Node((), b"\x08\x02\x12" + size + text + b"\x18" + size))
    for cid, block in ((Cid.of(RAW, text), text), (Cid.of(DAG_PB, wrapped), wrapped)):
        world = World()
        ens(world, f"ipfs://{cid}")
        world.ports["web.fetch"] = lambda _, block=block: block
        assert found(world.resolve("bob.eth")).profile == BOB.profile("ds.eth")
        assert str(cid) in world.asked[-1][1].url
        world.ports["web.fetch"] = lambda _, block=block: block + b" "
        assert "not the content" in failed(world.resolve("bob.eth", fresh=True), "content_invalid")


def test_an_unknown_operation_is_refused() -> None:
    failed(World().call("nonsense"), "method_unknown")
