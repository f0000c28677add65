"""Parsers of the fronts for the fuzz test: text that programs, people and browsers send."""

from collections.abc import Callable

from dms3.api.blobs import parse_range
from dms3.api.events import parse_events_query
from dms3.core.errors import Dms3Error
from dms3.node.config import parse_host_port, parse_settings, parse_size
from dms3.sdk.where import api_url
from dms3.sdk.wire import EventLines

SIZE = 1000


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _refusing(*codes: str) -> Callable[[Callable[[bytes], object]], Callable[[bytes], object]]:
    """A parser whose refusals are errors with one of `codes`, and nothing else."""

    def wrap(parser: Callable[[bytes], object]) -> Callable[[bytes], object]:
        def run(data: bytes) -> object:
            try:
                return parser(data)
            except Dms3Error as error:
                if error.code not in codes:
                    raise
                return None

        return run

    return wrap


@_refusing("range_invalid")
def _range(data: bytes) -> object:
    part = parse_range(_text(data), SIZE)
    assert part is None or 0 <= part[0] < part[1] <= SIZE
    return part


@_refusing("argument_invalid")
def _events(data: bytes) -> object:
    query, _, last = _text(data).partition("\n")
    found = parse_events_query(query, last)
    assert found.since is None or 0 <= found.since < 10**18
    return found


@_refusing("config_invalid")
def _config(data: bytes) -> object:
    return parse_settings(data)


@_refusing("argument_invalid")
def _api(data: bytes) -> object:
    url = api_url(_text(data))
    assert url.startswith(("http://", "https://"))
    return url


def _or_value_error(parser: Callable[[str], object]) -> Callable[[bytes], object]:
    def run(data: bytes) -> object:
        try:
            return parser(_text(data))
        except ValueError:
            return None

    return run


@_refusing("decode_failed")
def _event_lines(data: bytes) -> object:
    parser = EventLines()
    return [event for line in _text(data).split("\n") for event in parser.feed(line)]


FUZZ = {
    "range-header": _range,
    "events-query": _events,
    "config-toml": _config,
    "api-address": _api,
    "size": _or_value_error(parse_size),
    "host-port": _or_value_error(parse_host_port),
    "event-stream": _event_lines,
}
SEEDS = {
    "range-header": [b"", b"bytes=0-99", b"bytes=-5", b"bytes=7-", b"bytes=0-1,2-3", b"bytes=999-"],
    "events-query": [b"since=7&topics=store,peer.up\n9", b"topics=%41", b"\n12", b"since=0"],
    "config-toml": [
        b'name = "alice"\nlisten = "/ip4/127.0.0.1/tcp/0"\nrole = ["relay", "cloud"]\n',
        b'upload_max = "2 GiB"\nopen = false\njoin = ["/dns4/example.org/tcp/1"]\n',
        b"[a.b]\nc = 1979-05-27T07:32:00Z\n",
    ],
    "api-address": [b"127.0.0.1:7700", b"https://[::1]:80/x?y", b"http://user@host:1"],
    "size": [b"512 MiB", b"1", b"2gb"],
    "host-port": [b"127.0.0.1:7700", b"[::1]:0", b"node.example:65535"],
    "event-stream": [
        b': quiet\n\nid: 3\nevent: message\ndata: {"id":3}\n\n',
        b"data: {\ndata: }\n\n",
    ],
}
