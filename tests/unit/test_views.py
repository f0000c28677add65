"""What people read: sentences of each command's data, plain fields where the data is another's."""

import pytest

from dms3.cli.lines import shown
from dms3.cli.output import Output, plain
from dms3.cli.views import VIEWS
from dms3.node.commands import TABLE


def text(command: str, **data: object) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in VIEWS[command](data)]


@pytest.mark.parametrize(
    ("command", "data", "lines"),
    [
        (
            "id show",
            {"name": "ada", "root": "ab", "peer_id": "12D", "account": "0x1", "agents": []},
            ["ada", "  root     ab", "  node     12D", "  account  0x1"],
        ),
        ("peer ping", {"peer_id": "12D", "milliseconds": 1.25}, ["12D answered in 1.2 ms."]),
        (
            "peer world",
            {
                "peers": [
                    {
                        "peer_id": "12D",
                        "name": "bob",
                        "uptime": 0.5,
                        "own": {"value": 0.4, "confidence": 0.25},
                        "heard": {"value": 0.6, "confidence": 0.5},
                        "reporters": 3,
                        "points": 0,
                        "refused_until_us": 0,
                    },
                    {
                        "peer_id": "12E",
                        "name": None,
                        "uptime": 0.2,
                        "own": {"value": 0.2, "confidence": 0.0},
                        "heard": None,
                        "reporters": 2,
                        "points": 25,
                        "refused_until_us": 0,
                    },
                ]
            },
            [
                "bob  50% there",
                "  12D  seen 40% (confidence 25%), 3 others say 60%",
                "unknown person  20% there",
                (
                    "  12E  seen 20% (confidence 0%), 2 others say something, too few to count,"
                    " 25 points of misconduct"
                ),
            ],
        ),
        (
            "peer gossip",
            {
                "spread": 1,
                "delivered": 2,
                "dropped": {"seen_full": 3, "false": 1_000},
                "overlays": [
                    {"overlay": "a" * 64, "nodes": 9, "partners": 8, "bodies": 3, "bytes": 3_000}
                ],
            },
            [
                "1 message spread, 2 heard from others",
                "  overlay aaaaaaaaaaaaaaaa...: 8 partners of 9 nodes, 3 messages kept (3 kB)",
                "  dropped: false 1,000, seen_full 3",
            ],
        ),
        ("peer connect", {"peer_id": "12D", "address": "/a"}, ["Connected to 12D at /a."]),
        ("open", {"url": "http://x/login?code=y"}, ["http://x/login?code=y"]),
        ("store remove", {"removed": 1}, ["1 document removed."]),
        ("store remove", {"removed": 2}, ["2 documents removed."]),
        (
            "id protect",
            {"protected": True},
            ["Protected: from the next start on the node asks for the passphrase."],
        ),
        ("unlock", {"name": "ada", "peer_id": "12D"}, ["Unlocked. This is ada, node 12D."]),
        (
            "config show",
            {"name": "", "open": True, "role": [], "join": ["/a", "/b"], "upload_max": 7},
            [
                "name             none",
                "open             true",
                "role             none",
                "join             /a, /b",
                "upload_max       7",
            ],
        ),
        (
            "config show",
            {"overlay_blocks": 1 << 30, "delivery_size": 100_000, "upload_max": 3 << 19},
            [
                "overlay_blocks   1GiB",
                "delivery_size    100000",
                "upload_max       1536KiB",
            ],
        ),
        (
            "config show",
            {"settings": [{"setting": "name", "value": "ada", "origin": "flag"}]},
            ["name             ada  (flag)"],
        ),
        (
            "store folder",
            {"cid": "c", "count": 1, "entries": [{"name": "a.txt", "cid": "x", "size": 1000}]},
            ["1 entry", "a.txt  1 kB  x"],
        ),
        (
            "store folder",
            {"cid": "c", "count": 2, "entries": [{"name": "a", "cid": "x", "size": 0}]},
            ["2 entries", "a  0 B  x", "Shown: 1; --limit shows more."],
        ),
    ],
)
def test_what_people_read(command, data, lines):
    assert text(command, **data) == lines


def test_a_list_of_one_space_shows_that_space_and_its_documents():
    mine = {"mine": True, "documents": 1, "bytes": 3, "readers": []}
    spaces = [{"name": "letters", **mine}, {"name": "plans", **mine}]
    theirs = {"name": "letters", "mine": False, "owner": "bob", "until_us": 1 << 60}
    spaces.append({**theirs, "connected": True})
    document = {"name": "a.txt", "kind": "text", "bytes": 3, "cid": "x"}
    assert len(text("store list", spaces=spaces)) == 3
    one = text("store list", spaces=spaces, listed="letters", documents=[document], next=None)
    assert one == ["letters  yours: 1 document, 3 B", "a.txt  text, 3 B  x"]


def test_status_tells_of_what_was_fetched_when_there_is_some():
    data = {
        "locked": False, "ready": True, "name": "ada", "peers": {"connected": 1},
        "contacts": {"connected": 0, "known": 0}, "spaces": {"mine": 1, "shared_with_me": 0},
        "documents": 0, "bytes": 0, "addresses": [], "home": "/h", "version": "1",
    }  # fmt: skip
    kept = "1 document (2 kB) fetched from others."
    assert kept in text("status", **data, fetched={"documents": 1, "bytes": 2000})
    assert len(text("status", **data, fetched={"documents": 0, "bytes": 0})) == 3
    assert len(text("status", **data)) == 3, "a node of an earlier version does not say"


@pytest.mark.parametrize("command", [name for name in VIEWS if name != "id protect"])
def test_data_of_another_version_is_shown_as_fields(command, capfd):
    if command != "config show":
        assert shown(VIEWS[command], {"other": 1}) is None
    Output(as_json=False, view=VIEWS[command]).result({"other": 1, "hits": 7, "spaces": "?"})
    out, err = capfd.readouterr()
    assert "other" in out
    assert err == ""


def test_data_of_another_version_is_all_there(capfd):
    data = {"name": "ada", "node": {"id": 3}}
    Output(as_json=False, view=VIEWS["id show"]).result(data)
    assert capfd.readouterr().out.splitlines() == plain(data)


def test_every_command_that_answers_has_a_view():
    assert {command.name for command in TABLE} - set(VIEWS) == set()


@pytest.mark.parametrize(
    ("kept", "skipped", "lines"),
    [
        (0, 0, ["599 documents imported (7.4 MB), 0 unchanged"]),
        (1, 0, ["599 documents imported (7.4 MB), 0 unchanged, 1 other file kept (found by name)"]),
        (
            1486,
            2,
            [
                (
                    "599 documents imported (7.4 MB), 0 unchanged, "
                    "1,486 other files kept (found by name), 2 skipped"
                ),
                "  /a/link: a symbolic link",
                "  and 1 more; --json lists them",
            ],
        ),
    ],
)
def test_files_that_are_kept_are_not_called_skipped(kept, skipped, lines):
    listed = [{"path": "/a/rose.gif", "reason": "binary", "kept": True}] * bool(kept)
    listed += [{"path": "/a/link", "reason": "a symbolic link", "kept": False}] * bool(skipped)
    data = {"documents": 599, "bytes": 7_400_000, "unchanged": 0, "skipped": listed, "root": None}
    assert text("store add", **data, skipped_count=kept + skipped, kept_count=kept) == lines
