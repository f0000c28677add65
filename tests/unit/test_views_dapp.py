from dms3.cli.lines import shown
from dms3.cli.views_dapp import DAPP_VIEWS
from dms3.node.commands import TABLE

AGENT, HASH = "a" * 52, "bafyrei" + "x" * 52
FUNCTION = {"function": "sign", "access": "own", "about": "Write a line."}
APP = {
    "name": "guestbook",
    "title": "Guestbook",
    "description": "Lines.",
    "state": "ready",
    "problem": "",
    "page": "http://guestbook.localhost:7700/",
    "functions": [FUNCTION],
    "rules": [{"rule": "short", "line": 9, "about": "Lines are short."}],
    "chain": {"agent": AGENT, "seq": 4, "head": HASH, "standing": "writable"},
    "held": {"states": {"integrated": 3, "rejected": 1}, "bytes": 3_000},
}
RECORD = {
    "dapp": "guestbook",
    "action": {"kind": "create", "author": AGENT, "time": 1_700_000_000_000_000},
    "entry": {"text": "x" * 9},
    "live": False,
    "updates": [],
    "holders": 2,
    "verdict": {"verdict": "invalid", "rule": "short", "line": 9, "detail": "too long"},
}


def lines(name: str, data: dict) -> str:
    found = shown(DAPP_VIEWS[name], data)
    assert found is not None, f"{name} misses something"
    return "\n".join("".join(piece for piece, _ in line) for line in found)


def test_every_command_about_apps_has_words_for_people() -> None:
    named = {command.name for command in TABLE if command.noun in ("dapp", "entry")}
    assert named <= set(DAPP_VIEWS)


def test_an_app_shows_how_it_is_called_and_opened() -> None:
    told = lines("dapp install", APP | {"changed": False})
    assert "guestbook is installed." in told
    assert "dms3 dapp call guestbook sign  Write a line." in told
    assert "dms3 dapp open guestbook" in told
    assert "has new functions and page" in lines("dapp install", APP | {"changed": True})
    told = lines("dapp show", APP)
    assert "rule short  line 9: Lines are short." in told
    assert "5 actions, writable" in told
    assert "held here: 4 ops" in told


def test_a_list_without_apps_says_what_to_do() -> None:
    shipped = [{"name": "guestbook", "installed": False}]
    told = lines("dapp list", {"dapps": [], "shipped": shipped})
    assert "dms3 dapp install guestbook" in told
    failed = APP | {"state": "failed", "problem": "The runner is missing."}
    told = lines("dapp list", {"dapps": [failed], "shipped": [{"name": "x", "installed": True}]})
    assert "failed" in told
    assert "The runner is missing." in told


def test_a_broken_rule_is_shown_with_name_line_and_author() -> None:
    told = lines("entry get", RECORD)
    assert "breaks the rule short, line 9: too long" in told
    assert AGENT in told
    assert "deleted" not in told, "nobody deleted it"
    valid = RECORD | {"verdict": {"verdict": "valid"}}
    assert "deleted by its author" in lines("entry get", valid)
    assert f"create by agent {AGENT}, " in lines("entry get", valid)
    assert "valid, as 2 nodes say" in lines("entry get", valid)


def test_who_wrote_it_is_named_where_that_is_known() -> None:
    written = RECORD | {"verdict": {"verdict": "valid"}, "holders": 1}
    for person, who in (
        ({"root": "r", "name": "alice", "you": False}, f"alice (agent {AGENT})"),
        ({"root": "r", "name": "me", "you": True}, f"you (agent {AGENT})"),
        ({"root": "r", "name": "", "you": False}, f"agent {AGENT}"),
    ):
        told = lines("entry get", written | {"person": person})
        assert f"create by {who}, " in told
        assert "valid, as 1 node says" in told


def test_a_journey_says_who_signed_and_whether_that_is_enough() -> None:
    here = {"op": "record", "state": "rejected", "why": "too long", "rule": "short", "line": 9}
    ops = [
        {"op": "record", "signers": ["a"] * 9, "uptime": 8.25, "enough": "uptime"},
        {"op": "entry", "signers": ["a", "b"], "uptime": 0.4, "enough": "everybody"},
        {"op": "activity", "signers": [], "uptime": 0.0, "enough": ""},
    ]
    data = {
        "action": HASH,
        "author": AGENT,
        "verdict": {"verdict": "valid"},
        "holders": 1,
        "here": [here],
        "published": {"complete": False, "ops": ops},
    }
    told = lines("entry journey", data)
    assert "record rejected, rule short, line 9: too long" in told
    assert "entry: signed for by 2 nodes, all there are" in told
    assert "activity: signed for by nobody yet" in told
    assert "record: signed for by 9 nodes, enough: uptimes of 8.2 together" in told
    put = {"dapp": "d", "entry": HASH, "action": HASH, "published": data["published"]}
    assert "entry: signed for by 2 nodes, all there are" in lines("entry put", put)
    assert f"dms3 entry journey {HASH} --dapp d" in lines("entry put", put)
    whole = put | {"published": {"complete": True, "ops": ops[:2]}}
    assert "journey" not in lines("entry put", whole)
    assert "signed for" not in lines("entry put", put | {"published": None})
    assert "signed for" not in lines("entry journey", data | {"published": None})
    assert "warrant show" not in told
    blocked = lines("entry journey", data | {"blocked": "convicted", "dapp": "guestbook"})
    assert f"Its author is convicted here: dms3 warrant show {AGENT}" in blocked


def test_values_are_shown_as_text_rows_or_json() -> None:
    assert lines("dapp call", {"value": "hello"}) == "hello"
    assert lines("dapp call", {"value": [{"a": 1}, {"a": 2}]}) == '{"a": 1}\n{"a": 2}'
    assert lines("dapp call", {"value": None}) == "null"
    assert lines("dapp call", {"value": [{"a": "x" * 500}]}).endswith("...")
