"""What nodes tell each other by gossip, and ask of each other."""

from dms3.core.codec import encode
from dms3.gossip.messages import (
    Bodies,
    News,
    Question,
    Recent,
    decode_bodies,
    decode_news,
    decode_question,
    decode_recent,
)

FUZZ = {
    "news": decode_news,
    "question": decode_question,
    "bodies": decode_bodies,
    "recent": decode_recent,
}

_OVERLAY = bytes(range(32))
SEEDS = {
    "news": [encode(News(_OVERLAY, "warrants", bytes(32)))],
    "question": [
        encode(Question(_OVERLAY, "presence", want=bytes(16))),
        encode(Question(_OVERLAY, "presence", mark=bytes(16))),
    ],
    "bodies": [encode(Bodies((b"one", b"two"), cut=True)), encode(Bodies(()))],
    "recent": [encode(Recent(bytes(48))), encode(Recent(same=True))],
}
COUNTS = dict.fromkeys(FUZZ, (25_000, "4 decoders of one shape: together they get one's inputs"))
