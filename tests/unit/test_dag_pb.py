import pytest

from dms3.core.cid import DAG_PB, RAW, Cid
from dms3.core.dag_pb import Link, Node, decode_node, encode_node
from dms3.core.errors import DecodeError

LEAF = Cid.of(RAW, b"leaf")
LINK = b"\x0a\x24" + LEAF.binary + b"\x12\x01a\x18\x04"


def node_of(*fields: bytes) -> bytes:
    return b"".join(fields)


def link_field(body: bytes = LINK) -> bytes:
    return b"\x12" + bytes((len(body),)) + body


def test_a_node_is_written_links_first_and_read_back() -> None:
    node = Node((Link(LEAF, "a", 4),), b"data")
    block = encode_node(node)
    assert block == link_field() + b"\x0a\x04data"
    assert decode_node(block) == node


def test_the_empty_folder_has_its_published_cid() -> None:
    block = encode_node(Node((), b"\x08\x01"))
    cid = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
    assert str(Cid.of(DAG_PB, block)) == cid


def test_data_before_links_is_read_as_old_encoders_wrote_it() -> None:
    assert decode_node(b"\x0a\x01x" + link_field()) == Node((Link(LEAF, "a", 4),), b"x")


def test_absent_data_is_not_empty_data() -> None:
    assert decode_node(b"").data is None
    assert decode_node(b"\x0a\x00").data == b""


def test_a_link_may_lack_name_and_size() -> None:
    assert decode_node(link_field(LINK[:38])).links == (Link(LEAF, "", 0),)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (link_field() + b"\x0a\x00" + link_field(), "both sides"),
        (b"\x0a\x00\x0a\x00", "second data"),
        (b"\x0a\x05abc", "cut off"),
        (b"\x1a\x00", "unexpected field"),
        (b"\x08\x01", "wire type"),
        (link_field(LINK[38:]), "without a hash"),
        (link_field(LINK[38:] + LINK[:38]), "out of order"),
        (link_field(LINK + b"\x18\x04"), "out of order"),
        (link_field(b"\x0a\x24" + b"\x07" * 36), "CID"),
        (link_field(LINK[:38] + b"\x12\x01\xff"), "UTF-8"),
        (link_field(LINK[:38] + b"\x18\x80\x00"), "minimal"),
        (b"\x0a\x80\x00", "minimal"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "varint"),
    ],
)
def test_what_is_no_node_is_refused(block: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        decode_node(block)


def test_the_number_of_links_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dms3.core.dag_pb.NODE_LINKS_MAX", 2)
    assert len(decode_node(link_field() * 2).links) == 2
    with pytest.raises(DecodeError, match="more than 2 links"):
        decode_node(link_field() * 3)


def test_a_block_larger_than_any_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dms3.core.dag_pb.BLOCK_BYTES_MAX", 40)
    with pytest.raises(DecodeError, match="larger"):
        decode_node(link_field())


class Counted(bytes):
    """Bytes that count how many of them are copied out by slicing."""

    copied = 0

    def __getitem__(self, key) -> object:
        found = super().__getitem__(key)
        if isinstance(key, slice):
            Counted.copied += len(found)
        return found


def test_a_block_full_of_links_is_read_in_time_by_its_size():
    link = Link(Cid.of(RAW, b"x"), "", 1)
    block = encode_node(Node((link,) * 2_000, None))
    Counted.copied = 0
    assert decode_node(Counted(block)).links == (link,) * 2_000
    assert Counted.copied <= 2 * len(block), "of the largest block it would be 50 GB"
