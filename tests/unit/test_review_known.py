"""Strangers who come with ever new identities cost little each."""

from dms3.core.ids import PeerId
from dms3.core.limits import PEERS_KNOWN_MAX
from dms3.core.machine import Delete, Now
from dms3.p2p.known import KnownPeers


def test_room_for_a_stranger_is_made_without_asking_about_everybody():
    known = KnownPeers()
    asked: list[PeerId] = []

    def keep(peer: PeerId) -> bool:
        asked.append(peer)
        return peer < PeerId((3).to_bytes(38, "big"))

    for number in range(PEERS_KNOWN_MAX):
        peer = PeerId(number.to_bytes(38, "big"))
        known.on_up(peer, "", Now(number, number), inbound=True, keep=keep)
        known.on_down(peer)
    assert asked == []
    stranger = PeerId(PEERS_KNOWN_MAX.to_bytes(38, "big"))
    effects = known.on_up(stranger, "", Now(9, 9), inbound=True, keep=keep)
    gone = [PeerId(effect.key) for effect in effects if isinstance(effect, Delete)]
    assert gone == [PeerId((3).to_bytes(38, "big"))], "the longest unseen that nobody needs"
    assert len(asked) == 4
