"""First come in an overlay: the held value stays, lives as long as its type says, is weighed."""

import dataclasses

from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import HELD_LIFE_US
from dms3.core.machine import Now
from dms3.core.overlay import ContentType, Retention
from dms3.core.verdict import Valid
from dms3.dht.gathering import CONTESTED_HEARD, Gathering
from dms3.dht.holding import Admitted, Holding
from dms3.dht.lookup import Nearest
from dms3.dht.messages import Code, Get, PutValue
from unit.dht.holding_kit import NOW, OWN, WALL, Rows

OVERLAY = OverlayId(b"o" * 32)
DAY_US = 24 * 3_600_000_000


def merge(held: bytes, offered: bytes) -> bytes:
    """`OWNER/VERSION`: one's own later version renews, another's changes nothing."""
    same = held.split(b"/")[0] == offered.split(b"/")[0]
    return max(held, offered) if same else held


FIRST = ContentType(
    "first",
    lambda _key, _value, _wall_us: Valid(),
    merge,
    lambda _key, _value: Retention(b"", WALL + 40 * DAY_US),
    100,
    1,
    1_000,
    life_us=30 * DAY_US,
    contested=True,
)


def put(holding: Holding, rows: Rows, value: bytes, now: Now = NOW) -> Code | None:
    """The code, None when the value is held now."""
    wanted = PutValue("first", b"key", value, WALL + 90 * DAY_US)
    found, effects = holding.admit(OVERLAY, wanted, now)
    rows.apply(effects)
    if isinstance(found, Admitted):
        rows.apply(holding.write(found))
        return None
    return found


def held(holding: Holding, now: Now = NOW) -> tuple[bytes, ...]:
    return holding.values(OVERLAY, FIRST, b"key", b"", now)[0]


def made() -> tuple[Holding, Rows]:
    rows = Rows({})
    holding = Holding(OWN, [FIRST])
    holding.load(rows)
    return holding, rows


def test_who_was_there_first_stays_and_renews() -> None:
    holding, rows = made()
    assert put(holding, rows, b"bob/1") is None
    assert put(holding, rows, b"eve/9") is Code.HELD
    assert held(holding) == (b"bob/1",)
    assert put(holding, rows, b"bob/2") is None
    assert held(holding) == (b"bob/2",)


def test_a_type_says_how_long_its_values_live() -> None:
    holding, rows = made()
    put(holding, rows, b"bob/1")
    assert held(holding, Now(5, WALL + HELD_LIFE_US)) == (b"bob/1",)
    assert held(holding, Now(5, WALL + 30 * DAY_US - 1)) == (b"bob/1",)
    assert held(holding, Now(5, WALL + 30 * DAY_US)) == ()


def test_what_has_expired_gives_way_before_it_is_swept() -> None:
    holding, rows = made()
    put(holding, rows, b"bob/1")
    assert put(holding, rows, b"eve/1", Now(5, WALL + 30 * DAY_US - 1)) is Code.HELD
    assert put(holding, rows, b"eve/1", Now(5, WALL + 30 * DAY_US)) is None


def heard(*values: bytes) -> Gathering:
    gathering = Gathering(FIRST, Get("first", b"key"))
    for number, value in enumerate(values):
        peer = PeerId(b"%d" % number)
        assert gathering.take(peer, 1, (value,), more=False, wall_us=WALL)
    return gathering


NOBODY = Nearest((), True, 0, 5)


def test_values_are_counted_by_owner_and_the_one_of_most_holders_comes_first() -> None:
    found = heard(b"eve/9", b"bob/1", b"bob/2", b"bob/1").result(NOBODY)
    assert [value for _, value in found.values] == [b"bob/2", b"eve/9"]
    assert found.holders == (3, 1)


def test_several_holders_are_heard_before_a_contested_value_is_believed() -> None:
    assert not heard(*[b"bob/1"] * (CONTESTED_HEARD - 1)).enough
    assert heard(*[b"bob/1"] * CONTESTED_HEARD).enough
    plain = dataclasses.replace(FIRST, contested=False)
    gathering = Gathering(plain, Get("first", b"key"))
    gathering.take(PeerId(b"1"), 1, (b"bob/1",), more=False, wall_us=WALL)
    assert gathering.enough


def test_a_holder_has_one_vote_however_many_values_it_sends() -> None:
    gathering = heard(b"bob/1")
    gathering.take(PeerId(b"x"), 1, (b"eve/1", b"eve/2", b"eve/3"), more=False, wall_us=WALL)
    found = gathering.result(NOBODY)
    assert sorted(found.holders) == [1, 1]
