"""Rows of own chains for the fuzz test: what lies on disk, and receipts of holders."""

from dms3.chain.messages import OpResult, Published
from dms3.chain.receipt import issue_receipt
from dms3.core.cid import DAG_CBOR, Cid
from dms3.core.codec import decode, encode
from dms3.core.ids import OverlayId, PeerId
from dms3.core.overlay import Asked
from dms3.crypto.certificate import PEER_ID_PREFIX
from dms3.crypto.signing import SigningKey
from dms3.source.chains import ChainRow
from dms3.source.confirming import HomeRow
from dms3.source.holding import OpRow, PublishRow
from dms3.source.parcels import Parcel, Place, outcome_of

_KEY = SigningKey.of_seed(b"k" * 32)
_PEER = PeerId(PEER_ID_PREFIX + _KEY.public)
_APP = OverlayId(b"o" * 32)
_ACTION = Cid.of(DAG_CBOR, b"action")
_OP = bytes(32)
_PARCEL = Parcel(_APP, bytes(32), 8, (Place(_ACTION, 0, _OP, b"op"),))
_RECEIPT = issue_receipt(_KEY, _APP, _OP, 5)
_CHAIN = ChainRow(1, _APP, b"d" * 16, _KEY.public, 0, 3, _ACTION, 5)
_ROW = PublishRow(1, _APP, _APP + b"d" * 16, 3, _ACTION, (OpRow("record", b"b", (_PEER,)),), 1, 9)


def _answer(data: bytes) -> object:
    """An answer to a publish: whatever it is, it is read, and who sent it is blamed or believed."""
    outcome = outcome_of(_PARCEL, Asked(((_PEER, data),), members=1))
    return tuple(sorted(each) for each in outcome.signers)


FUZZ = {
    "chain row": lambda data: decode(ChainRow, data),
    "publish row": lambda data: decode(PublishRow, data),
    "home row": lambda data: decode(HomeRow, data),
    "answer to a publish": _answer,
}
COUNTS = {"answer to a publish": (20_000, "a signature is checked where the receipt can be read")}
SEEDS = {
    "chain row": [encode(_CHAIN)],
    "publish row": [encode(_ROW)],
    "home row": [encode(HomeRow(1, b"12 machine", copied=True))],
    "answer to a publish": [
        encode(Published((OpResult("held", _RECEIPT),))),
        encode(Published((OpResult("refused", rule="short", detail="too long", line=3),))),
    ],
}
