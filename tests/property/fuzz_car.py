"""CAR files, the trees in them, and what strangers ask the gateway for, for the fuzz test."""

from dms3.api.ipfs_asked import matches, parse_asked
from dms3.api.ipfs_shown import disposition, media_type
from dms3.core.car import CarReader, encode_head, encode_section
from dms3.core.car_tree import Surveyor
from dms3.core.cid import DAG_CBOR, DAG_PB, RAW, Cid
from dms3.core.codec import encode_plain
from dms3.core.dag_pb import Link
from dms3.core.dag_walk import EveryTime, Once, all_blocks, entity_blocks, links_in
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.unixfs import build_directory, build_file

LEAF = build_file(b"heron")
LARGE = build_file(bytes(600_000))
FOLDER = build_directory([LEAF.link("a.txt"), LARGE.link("b.bin")])
BLOCKS = dict(LEAF.blocks + LARGE.blocks + FOLDER.blocks)
FOLDER_BLOCK = FOLDER.blocks[-1][1]
SMALL = encode_head([LEAF.cid]) + encode_section(LEAF.cid, b"heron")
CBOR = encode_plain({"a": [LEAF.cid.binary, {"b": LARGE.cid.binary}], "c": b"\0text"})


def read_in_pieces(data: bytes) -> object:
    """The same blocks, whatever the pieces."""
    whole, pieces = CarReader(), CarReader()
    blocks = whole.add(data)
    cut = len(data) // 3
    assert pieces.add(data[:cut]) + pieces.add(data[cut:]) == blocks
    return whole.finish(), blocks


def walked(data: bytes) -> object:
    """Walks and surveys that meet `data` as the block of a folder."""
    cid = Cid.of(DAG_PB, data)

    def get(wanted: Cid) -> bytes:
        block = data if wanted == cid else BLOCKS.get(wanted)
        if block is None:
            raise DecodeError(0, "a block is missing")
        return block

    try:
        list(entity_blocks(get, cid, (3, 300_000), EveryTime()))
    except Dms3Error as error:
        assert error.code == "decode_failed"  # noqa: PT017 - any other is what is looked for
    list(all_blocks(get, cid, Once()))
    return Surveyor(get, lambda one: len(get(one))).survey(cid, "top")


def asked(data: bytes) -> object:
    """A request line by line: path, query, Accept, If-None-Match, a name; refusals are allowed."""
    path, query, accept, etag, name, *_ = [*data.split(b"\n"), b"", b"", b"", b"", b""]
    matches(etag.decode("latin-1"), '"x"')
    shown = name.decode("utf-8", "surrogateescape")
    disposition("inline", shown).encode("latin-1")
    media_type(shown, data[:512])
    try:
        found = parse_asked(path, query, accept.decode("latin-1"))
        span = None if found.car is None else found.car.span(1_000)
    except Dms3Error as error:
        if error.code not in ("argument_invalid", "format_unavailable", "not_found"):
            raise
        return None
    assert span is None or 0 <= span[0] <= span[1] <= 1_000
    assert found.location.isprintable()
    found.path.encode("ascii")
    return found


def request(path: str, query: str = "", accept: str = "", etag: str = "", name: str = "") -> bytes:
    return f"{path}\n{query}\n{accept}\n{etag}\n{name}".encode()


AT = f"/ipfs/{FOLDER.cid}"
FUZZ = {
    "car": read_in_pieces,
    "car_tree": walked,
    "cbor_links": lambda data: links_in(Cid.of_digest(DAG_CBOR, bytes(32)), data),
    "gateway_request": asked,
}
SEEDS = {
    "car": [SMALL, encode_head([LEAF.cid, Cid.of(RAW, b"")])],
    "car_tree": [FOLDER_BLOCK, build_directory([Link(FOLDER.cid, "in", 9)]).blocks[0][1]],
    "cbor_links": [CBOR],
    "gateway_request": [
        request(AT + "/a%20b/c.txt", "format=car&dag-scope=entity&entity-bytes=-5:*"),
        request(AT, "entity-bytes=10:-20&filename=x", "application/vnd.ipld.car;dups=y;q=0.5"),
        request("/ipfs/bafkqaaa", "format=raw", "text/html, */*;q=0.8", 'W/"a", "b"', "ä.svg"),
    ],
}
COUNTS = {
    "car_tree": (20_000, "two walks and a survey of real blocks for what decodes"),
    "cbor_links": (20_000, "a walk over what the codec has decoded, which is fuzzed itself"),
    "gateway_request": (30_000, "five parsers one after the other"),
}
