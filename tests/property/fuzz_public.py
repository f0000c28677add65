"""Decoders of public spaces for the fuzz test: manifests, open indexes, questions."""

from dataclasses import replace

from dms3.core.cid import DAG_CBOR, RAW, Cid
from dms3.core.codec import encode
from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId
from dms3.core.verdict import Valid
from dms3.crypto.signing import SigningKey
from dms3.search.indexing import IndexBuilder, Indexed, Posting
from dms3.search.manifest import Manifest, decode_manifest, directory_key, sign_manifest, validate
from dms3.search.openindex import Row, Words, decode_facts, decode_root, decode_row, decode_rows
from dms3.search.openrank import Opened, needed_parts, rank
from dms3.search.publicblock import PublicQuestion, decode_public_question
from dms3.search.query import parse_query

KEY = SigningKey.of_seed(b"a" * 32)
WALL_US = 1_800_000_000_000_000
QUERY = parse_query('heron "heron lock" OR lo* -otter')
ROW = Row(Cid.of(RAW, b"text"), "title", "a.txt", "python", "The heron waits.")


def build() -> tuple[Cid, dict[Cid, bytes]]:
    builder = IndexBuilder(3)
    builder.add_term(b"heron", [Posting(0, 1, 1, (0, 1)), Posting(2, 0, 2, (1, 9))])
    builder.add_term(b"lock", [Posting(0, 0, 1, (3,))])
    builder.add_term(b"otter", [Posting(1, 0, 1, (200_001,))])
    for kind in ("text", "code", "text"):
        builder.add_document(Indexed(ROW, kind, 70_000, WALL_US))
    made, blocks = builder.finish()
    return made.root, dict(blocks)


ROOT, BLOCKS = build()
INDEX = decode_root(BLOCKS[ROOT])
WORDS, PLACES, FACTS, ROWS = (
    BLOCKS[parts[0].cid] for parts in (INDEX.words, INDEX.places, INDEX.facts, INDEX.rows)
)
MANIFEST = sign_manifest(
    KEY,
    Manifest(
        v=1,
        space=b"s" * 32,
        name="canal",
        root=KEY.public,
        peer=PeerId(bytes.fromhex("002408011220") + b"p" * 32),
        index=Cid.of(DAG_CBOR, b"index"),
        documents=3,
        size=9,
        terms=3,
        kinds=("text", "code"),
        filter=b"\x07" + b"\x5a" * 20,
        created_us=WALL_US,
        until_us=WALL_US + 1_000_000,
        withdrawn=False,
        signature=b"",
    ),
).value


def manifest_as_a_holder_reads_it(data: bytes) -> object:
    """The verdict; a holder asks for it before it keeps anything."""
    verdict = validate(directory_key(b"s" * 32), data, WALL_US)
    if not isinstance(verdict, Valid):
        raise DecodeError(0, "not valid")
    return decode_manifest(data)


def ranked_with(series: str, data: bytes) -> object:
    """A search that meets `data` in place of a block."""
    cid = Cid.of(DAG_CBOR, data)
    (part,) = getattr(INDEX, series)
    root = replace(INDEX, **{series: (replace(part, cid=cid),)})
    found = rank([Opened(root, BLOCKS | {cid: data})], QUERY, None, (), 5)
    for reason in found.faults.values():
        raise DecodeError(0, reason)
    return found


def searched_root(data: bytes) -> object:
    """A search that meets `data` as the root of an index."""
    root = decode_root(data)
    needed_parts(root, QUERY)
    found = rank([Opened(root, BLOCKS)], QUERY, None, (), 5)
    for reason in found.faults.values():
        raise DecodeError(0, reason)
    return found


FUZZ = {
    "manifest": decode_manifest,
    "manifest_held": manifest_as_a_holder_reads_it,
    "index_root": searched_root,
    "index_words": lambda data: ranked_with("words", data),
    "index_places": lambda data: ranked_with("places", data),
    "index_facts": lambda data: ranked_with("facts", data),
    "index_shard": Words,
    "index_facts_alone": decode_facts,
    "index_rows": decode_rows,
    "index_row": decode_row,
    "public_question": decode_public_question,
}

SEEDS = {
    "manifest": [MANIFEST],
    "manifest_held": [MANIFEST],
    "index_root": [BLOCKS[ROOT]],
    "index_words": [WORDS],
    "index_places": [PLACES],
    "index_facts": [FACTS],
    "index_shard": [WORDS, PLACES],
    "index_facts_alone": [FACTS],
    "index_rows": [ROWS],
    "index_row": [encode(ROW)],
    "public_question": [encode(PublicQuestion(ROOT))],
}

COUNTS = {
    "manifest_held": (20_000, "a signature is checked for what decodes"),
    "index_words": (10_000, "a whole search over three documents"),
    "index_places": (10_000, "a whole search over three documents"),
    "index_facts": (10_000, "a whole search over three documents"),
    "index_root": (10_000, "a whole search over three documents"),
}

SLOW = {"index_shard"}
