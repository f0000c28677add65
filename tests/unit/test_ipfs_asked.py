"""What a request to the gateway asks for: formats, spans, paths, and what is refused."""

import pytest

from dms3.api.ipfs_asked import CarAsked, matches, parse_asked
from dms3.api.ipfs_shown import disposition, media_type
from dms3.core.cid import RAW, Cid
from dms3.core.errors import Dms3Error
from dms3.core.limits import CID_PATH_BYTES_MAX, GATEWAY_FIELDS_MAX

CID = Cid.of(RAW, b"heron")
AT = f"/ipfs/{CID}"
RAW_TYPE, CAR_TYPE = "application/vnd.ipld.raw", "application/vnd.ipld.car"


def ask(path: str = AT, query: str = "", accept: str = ""):
    return parse_asked(path.encode(), query.encode(), accept)


def refusal(path: str = AT, query: str = "", accept: str = "") -> str:
    with pytest.raises(Dms3Error) as caught:
        ask(path, query, accept)
    return caught.value.code


@pytest.mark.parametrize(
    ("query", "accept", "form"),
    [
        ("", "", ""),
        ("", "text/html,application/xhtml+xml,*/*;q=0.8", ""),
        ("format=raw", "", "raw"),
        ("format=car", RAW_TYPE, "car"),
        ("", RAW_TYPE, "raw"),
        ("", f"text/html;q=0.5, {CAR_TYPE}", "car"),
        ("", f"{CAR_TYPE};q=0.5, {RAW_TYPE};q=0.9", "raw"),
        ("", f"{CAR_TYPE};q=0, text/plain", ""),
        ("", f"{CAR_TYPE};q=x, text/plain", ""),
        ("", "APPLICATION/JSON", "json"),
        ("", "application/vnd.ipld.dag-cbor", "dag-cbor"),
        ("format=", RAW_TYPE, "raw"),
        ("", ", ;;, ,", ""),
    ],
)
def test_which_form_is_asked_for(query, accept, form):
    assert ask(query=query, accept=accept).form == form


@pytest.mark.parametrize(
    ("query", "accept", "code"),
    [
        ("format=tar", "", "format_unavailable"),
        ("format=ipns-record", "", "format_unavailable"),
        ("", "application/x-tar", "format_unavailable"),
        ("format=other", "", "argument_invalid"),
        ("format=car&dag-scope=some", "", "argument_invalid"),
        ("format=car&car-version=2", "", "format_unavailable"),
        ("format=car&car-order=bfs", "", "format_unavailable"),
        ("", f"{CAR_TYPE};dups=maybe", "format_unavailable"),
        ("format=car&entity-bytes=1", "", "argument_invalid"),
        ("format=car&entity-bytes=*:2", "", "argument_invalid"),
        ("format=car&entity-bytes=0:9999999999999999999", "", "argument_invalid"),
        ("&".join(f"a{n}=" for n in range(GATEWAY_FIELDS_MAX + 1)), "", "argument_invalid"),
    ],
)
def test_what_cannot_be_had_is_refused(query, accept, code):
    assert refusal(query=query, accept=accept) == code


def test_bounds_of_a_query_and_a_path():
    ask(query="&".join(f"a{n}=" for n in range(GATEWAY_FIELDS_MAX)))
    room = CID_PATH_BYTES_MAX - len(AT) - 1
    assert ask(f"{AT}/{'a' * room}").names == ("a" * room,)
    assert refusal(f"{AT}/{'a' * (room + 1)}") == "argument_invalid"


@pytest.mark.parametrize(
    ("path", "names", "slash"),
    [
        (AT, (), False),
        (AT + "/", (), True),
        (AT + "//a%20b/%C3%A4.txt", ("a b", "ä.txt"), False),
        (AT + "/a/", ("a",), True),
        (AT + "/..", ("..",), False),
    ],
)
def test_paths(path, names, slash):
    found = ask(path)
    assert (found.root, found.names, found.slash) == (CID, names, slash)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/ipfs/", "argument_invalid"),
        ("/ipfs", "argument_invalid"),
        ("/ipfs/xyz", "argument_invalid"),
        (f"/ipfs/{str(CID)[:-1]}", "argument_invalid"),
        (f"{AT}/%FF", "argument_invalid"),
        (f"{AT}/a%2Fb", "not_found"),
        (f"{AT}/a%00", "not_found"),
    ],
)
def test_paths_that_lead_nowhere(path, code):
    assert refusal(path) == code


def test_the_probe_and_a_path_below_a_block():
    assert ask("/ipfs/bafkqaaa").root is None
    assert refusal(AT + "/a", "format=raw") == "argument_invalid"
    assert ask(AT + "/a", "format=car").names == ("a",)


def test_the_place_of_a_form_that_only_a_header_named():
    assert ask(accept=RAW_TYPE).location == f"{AT}?format=raw"
    assert ask(query="a=b", accept=RAW_TYPE).location == f"{AT}?a=b&format=raw"
    assert ask(query="format=raw", accept=RAW_TYPE).location == ""


def span(text: str, size: int) -> tuple[int, int] | None:
    car = ask(query=f"format=car&entity-bytes={text}").car
    assert car is not None
    return car.span(size)


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("0:*", 10, (0, 10)),
        ("0:0", 10, (0, 1)),
        ("9:*", 10, (9, 10)),
        ("3:100", 10, (3, 10)),
        ("-3:*", 10, (7, 10)),
        ("-100:4", 10, (0, 5)),
        ("2:-3", 10, (2, 8)),
        ("5:2", 10, (0, 0)),
        ("0:*", 0, (0, 0)),
    ],
)
def test_spans_of_a_file(text, size, expected):
    assert span(text, size) == expected


def test_a_span_outside_of_the_file_is_refused_and_none_is_none():
    with pytest.raises(Dms3Error, match="no byte 10"):
        span("10:*", 10)
    assert CarAsked("all", None, None, doubled=False).span(10) is None
    car = ask(query="format=car&dag-scope=block&entity-bytes=0:*&car-dups=y").car
    assert car == CarAsked("entity", 0, None, doubled=True)


def test_etags():
    for header in ('"a"', 'W/"a"', '"b", "a"', "*"):
        assert matches(header, '"a"')
    for header in ("", '"b"', "a"):
        assert not matches(header, '"a"')


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("a.HTML", b"", "text/html"),
        ("a.svg", b"", "image/svg+xml"),
        (".html", b"plain", "text/plain; charset=utf-8"),
        ("a", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("a.unknown", b"text \xc3\xa4", "text/plain; charset=utf-8"),
        ("a", b"\xc3", "application/octet-stream"),
        ("a", b"x" * 511 + b"\xc3", "text/plain; charset=utf-8"),
        ("a", b"a\0b", "application/octet-stream"),
    ],
)
def test_media_types(name, head, expected):
    assert media_type(name, head) == expected


def test_a_name_for_saving_cannot_leave_its_header():
    shown = disposition("attachment", 'a"\r\nSet-Cookie: x=1\\ä')
    assert shown == (
        'attachment; filename="a___Set-Cookie: x=1__"; '
        "filename*=UTF-8''a%22%0D%0ASet-Cookie%3A%20x%3D1%5C%C3%A4"
    )
