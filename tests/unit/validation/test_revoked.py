"""A key that its root has taken back is told with its activity; nobody else takes it back."""

from dms3.chain.agent import AgentPlace, issue_agent, revoke_agent
from dms3.chain.operations_validation import GetActivity
from unit.chain.chain_kit import T0, Chain
from unit.validation.validation_kit import PLAIN, Rig, begun, holding, key


def revoked_by(root_number):
    """Whether the agent counts as revoked when the person `root_number` says so."""
    lost = begun(PLAIN, 1)  # of root 41
    root = key(root_number)
    certificate = issue_agent(root, AgentPlace(PLAIN.id, lost.signing.public, b"d" * 16), T0)
    other = Chain.begun(key(2), root, PLAIN)
    other.add("agent", revocation=revoke_agent(root, certificate, 2, T0))
    rig = Rig()
    rig.network = holding(*lost.records, *other.records)
    return rig.call("activity", GetActivity(PLAIN.id, lost.signing.public, limit=1)).revoked


def test_the_root_takes_it_back():
    assert revoked_by(41)


def test_somebody_else_does_not():
    assert not revoked_by(43)
