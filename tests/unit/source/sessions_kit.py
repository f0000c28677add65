"""Sessions of countersigning in a world of parties: at which step they stand, what is checked."""

from dms3.chain.agent_messages import decode_session_reply
from dms3.chain.operations import AcceptSession, Change, Commit
from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.machine import Requested
from unit.source.chain_kit import check_chain
from unit.source.parties_kit import OVERLAY, SECOND, Party, World, propose

MINUTE = 60 * SECOND


def ask(party, question, by=None):
    """What the party answers to a question that anybody may put."""
    request = next(party.world.numbers)
    peer = (by or party.world.parties[0]).peer
    party.tell(Requested(peer, "/dms3/agent/1", encode(question), request))
    party.world.run()
    body = party.answers.get(request)
    return body if isinstance(body, Failure) or body is None else decode_session_reply(body)


def check_all_or_nobody(world, *parties: Party):
    """Every chain is one; the action of the session is in all of them, or in none."""
    for party in parties:
        check_chain(party.chain)
    assert all(len(seen) == 1 for seen in world.overlay.seen.values())
    written = [len(party.written()) for party in parties]
    assert written in ([1] * len(parties), [0] * len(parties))
    return bool(written[0])


def lock_of(party):
    return party.machine._grounds.chains.find(OVERLAY).row.lock


def asked_world():
    world = World("a", "b")
    one, two = world.parties
    two.countersigns = lambda _session: None
    propose(one, two)
    assert (one.session.state, two.session.state) == ("proposed", "proposed")
    assert (two.session.content, two.session.proposer) == ({"text": "we agree"}, one.agent)
    return world, one, two


def accepted_world(window_us=MINUTE):
    """Two has accepted, and one, who proposed, is gone with it."""
    world = World("a", "b")
    one, two = world.parties
    two.countersigns = lambda _session: None
    propose(one, two, window_us=window_us)
    one.die()
    two.call("accept", AcceptSession(two.session.id))
    world.run()
    assert two.session.state == "locked"
    return world, one, two


def note_of():
    return Commit(OVERLAY, (Change("create", "note", {"text": "waits"}),))
