"""The views of apps over answers that tests set, in the shapes of the real ones."""

# ruff: noqa: ARG001 - commands take a node, whether they need it or not
from __future__ import annotations

import copy
import re
from typing import Annotated, Any

import pytest

from dms3.api.http import build_front
from dms3.api.sessions import Sessions
from dms3.core.errors import Dms3Error
from dms3.core.limits import PAGE_ACTIONS_MAX
from dms3.core.multibase import encode_base32
from dms3.node.table import Result, Table, command
from dms3.web import apps
from dms3.web.templating import HASH_CHARS_SHOWN
from unit.fronts import TABLE, TOKEN, Counting, FakeNode, Fixture, Ticking, in_loop
from unit.test_page import browser

ME, OTHER = (encode_base32(bytes([number]) * 32) for number in (1, 2))
DNA = bytes([7]) * 32
HASH = "bafyrei" + "a" * 52
PEER = "12D3KooW" + "b" * 44
HOSTILE = "<script>alert(1)</script>"
APP: dict[str, Any] = {
    "name": "book",
    "title": f"Book {HOSTILE}",
    "description": f"About {HOSTILE}",
    "version": HOSTILE,
    "dna": encode_base32(DNA),
    "agent": ME,
    "state": "ready",
    "problem": "",
    "progress": "",
    "page": "http://book.localhost:1/",
    "functions": [
        {
            "function": "sign",
            "access": "assigned",
            "about": HOSTILE,
            "parameters": [
                {"name": "text", "kind": "text", "needed": True, "default": None},
                {"name": "loud", "kind": "yes", "needed": False, "default": True},
                {"name": "times", "kind": "number", "needed": False, "default": 3},
            ],
        },
        {"function": "odd", "access": "own", "about": "", "parameters": None},
    ],
    "members": [PEER],
    "uptime": 8,
    "level": "python-1",
    "entries": ["entry"],
    "links": [],
    "membrane": "open",
    "rules": [{"rule": "short", "line": 9, "about": HOSTILE}],
    "chain": {"agent": ME, "seq": 40, "head": HASH, "standing": "writable"},
    "held": {"states": {"integrated": 3, "rejected": 1}, "bytes": 300},
    "source": f"shipped:{HOSTILE}",
    "installed_us": 1_700_000_000_000_000,
    "changed_us": 1_700_000_000_000_000,
}
SESSION: dict[str, Any] = {
    "session": "5a" * 32,
    "kind": "agreement",
    "content": {"title": HOSTILE},
    "parties": [ME, OTHER],
    "signed": [OTHER],
    "until_us": 1_700_000_000_000_000,
    "state": "proposed",
    "action": None,
    "proposer": OTHER,
    "why": "",
}
OP: dict[str, Any] = {
    "op": "record",
    "at": HASH,
    "signers": [PEER],
    "uptime": 0.2,
    "members": 5,
    "enough": "",
    "again_us": 1_700_000_000_000_000,
}


def record(seq: int, entry: Any = None, **more: Any) -> dict[str, Any]:
    action = {"hash": HASH, "author": ME, "seq": seq, "time": 1_700_000_000_000_000}
    return {"action": action | {"kind": "create", "entry_kind": "entry"} | more, "entry": entry}


App = Annotated[str, "an app"]
Hash = Annotated[str, "a hash"]
Words = Annotated[str, "words"]
Number = Annotated[int, "a number"]


class Answers(FakeNode):
    """What the commands of apps answer."""

    def __init__(self) -> None:
        super().__init__()
        self.app = copy.deepcopy(APP)
        self.sessions: list[dict[str, Any]] = []
        self.grants: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.entry: Any = {"text": HOSTILE, "of": HASH}
        self.journey: dict[str, Any] = {
            "dapp": "book",
            "action": HASH,
            "entry": HASH,
            "author": ME,
            "verdict": {"verdict": "valid"},
            "holders": 1,
            "here": [
                {
                    "op": "record",
                    "at": HASH,
                    "state": "rejected",
                    "why": HOSTILE,
                    "rule": "short",
                    "line": 9,
                    "waiting": [],
                    "received_us": 1_700_000_000_000_000,
                }
            ],
            "published": {"complete": False, "ops": [dict(OP)]},
            "blocked": "convicted",
        }

    async def status(self):
        return await super().status() | {"last_event": len(self.stored), "peer_id": "me"}


@command("dapp", "list", example="dms3 dapp list")
async def dapp_list(node: Answers) -> Result:
    """List."""
    shipped = [
        {"name": "notes", "title": "Notes", "description": HOSTILE, "installed": False},
        {"name": "chess", "title": "Chess", "description": "", "installed": True},
    ]
    return Result({"dapps": [node.app] if node.app else [], "shipped": shipped})


@command("dapp", "show", example="dms3 dapp show book")
async def dapp_show(node: Answers, dapp: App) -> Result:
    """Show."""
    if dapp != "book":
        raise Dms3Error("not_found", f"There is no app {dapp!r}.", hint="Install it.")
    return Result(node.app)


@command("dapp", "sessions", example="dms3 dapp sessions book")
async def dapp_sessions(node: Answers, dapp: App) -> Result:
    """Sessions."""
    return Result({"sessions": copy.deepcopy(node.sessions)})


@command("dapp", "grants", example="dms3 dapp grants book")
async def dapp_grants(node: Answers, dapp: App) -> Result:
    """Grants."""
    return Result({"grants": node.grants})


@command("dapp", "discover", example="dms3 dapp discover words")
async def dapp_discover(node: Answers, query: Words = "", limit: Number = 20) -> Result:
    """Discover."""
    if query == "nowhere":
        raise Dms3Error("timed_out", "Nobody answered.", hint="Try again.")
    one = {"name": "x", "title": HOSTILE, "version": "1", "description": "", "cid": HASH}
    return Result({"dapps": [one | {"installed": query == "here"}] if query != "none" else []})


@command("chain", "show", example="dms3 chain show book")
async def chain_show(node: Answers, dapp: App, after: Number = -1, limit: Number = 100) -> Result:
    """Chain."""
    node.asked.append({"after": after, "limit": limit})
    rows = [record(seq, node.entry) for seq in range(after + 1, after + 1 + limit)]
    return Result({"records": rows, "standing": "asking", "next": None})


@command("entry", "journey", example="dms3 entry journey x")
async def entry_journey(node: Answers, hash: Hash, dapp: App) -> Result:  # noqa: A002
    """Journey."""
    return Result(node.journey)


@command("entry", "get", example="dms3 entry get x")
async def entry_get(node: Answers, hash: Hash, dapp: App) -> Result:  # noqa: A002
    """Get."""
    return Result({**record(3, node.entry), "live": True, "updates": [HASH]})


COMMANDS = (
    *(dapp_list, dapp_show, dapp_sessions, dapp_grants, dapp_discover),
    *(chain_show, entry_journey, entry_get),
)


def make(node: Answers) -> Fixture:
    clock = Ticking()
    reported: list[tuple[str, BaseException]] = []
    front = build_front(
        node,
        Table((*TABLE, *COMMANDS)),
        token=TOKEN,
        sessions=Sessions(Counting(), clock),
        hosts=(),
        report=lambda path, error: reported.append((path, error)),
    )
    return Fixture(node, front, clock, reported)


async def view(path: str, node: Answers | None = None, code: int = 200) -> str:
    fixture = make(node or Answers())
    async with browser(fixture) as client:
        await client.get(fixture.front.login_path())
        shown = await client.get(path)
    assert fixture.reported == []
    assert shown.status_code == code
    return shown.text


def words(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))


@pytest.mark.parametrize("path", ["/apps", "/apps?find=x", "/apps/book", f"/apps/book/{HASH}"])
@in_loop
async def test_what_an_app_and_its_people_say_is_text_and_identifiers_are_short(path):
    node = Answers()
    node.sessions = [dict(SESSION)]
    text = await view(path, node)
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r"<[^>]+\s(style|on\w+)=", text)
    longest = max(map(len, re.findall(r"[a-z2-7]+", words(text.partition("<footer")[0]))))
    assert longest <= max(HASH_CHARS_SHOWN, len("introduce yourself"))
    assert f'data-copy="{HASH}"' in text or path == "/apps"


@in_loop
async def test_what_waits_for_me_is_counted_and_can_be_signed():
    node = Answers()
    node.sessions = [dict(SESSION), SESSION | {"proposer": ME, "signed": [ME]}]
    assert "1 agreement waits for your signature" in await view("/apps", node)
    text = await view("/apps/book", node)
    assert text.count('data-command="dapp accept"') == 1
    assert text.count('data-command="dapp decline"') == 1


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({}, True),
        ({"state": "locked"}, False),
        ({"signed": [ME]}, False),
        ({"proposer": ME}, False),
        ({"parties": [OTHER]}, False),
    ],
    ids=range(5),
)
def test_only_what_others_proposed_and_i_did_not_sign_waits(changes, waits):
    assert apps.waits_for(SESSION | changes, ME) is waits


@in_loop
async def test_my_chain_is_shown_from_its_end_a_page_at_a_time():
    node = Answers()
    text = await view("/apps/book", node)
    assert node.asked == [{"after": 40 - PAGE_ACTIONS_MAX, "limit": PAGE_ACTIONS_MAX}]
    assert f'href="?before={41 - PAGE_ACTIONS_MAX}"' in text
    assert "until others have said how long this chain is" in text
    rest = await view(f"/apps/book?before={41 - PAGE_ACTIONS_MAX}", node)
    assert node.asked[1] == {"after": -1, "limit": 41 - PAGE_ACTIONS_MAX}
    assert "Earlier" not in rest
    assert "There is nothing before that." in await view("/apps/book?before=0", node)
    assert len(node.asked) == 2


@in_loop
async def test_an_app_that_starts_or_does_not_run_says_so_and_asks_nothing_of_its_chain():
    node = Answers()
    node.app |= {"state": "starting", "progress": "Compiling, 4 s so far", "agent": None}
    node.app |= {"functions": [], "rules": [], "chain": None}
    for path in ("/apps", "/apps/book"):
        assert "Compiling, 4 s so far" in await view(path, node)
    assert "Your chain begins when the app has started." in await view("/apps/book", node)
    node.app |= {"state": "failed", "problem": "Line 3 is no Python."}
    for path in ("/apps", "/apps/book"):
        assert "It does not run: Line 3 is no Python." in await view(path, node)
    assert node.asked == []


@in_loop
async def test_a_form_has_what_a_function_is_given():
    text = await view("/apps/book")
    assert re.search(r'<textarea id="sign-text" name="text"[^>]* data-needed>', text)
    assert re.search(r'type="checkbox" name="loud" data-kind="yes" checked', text)
    assert re.search(r'type="number" step="1" name="times"[^>]* value="3"', text)
    assert 'id="odd-json" data-json' in text
    assert 'data-dialog="grant"' in text, "sign is for whom one lets"


@in_loop
async def test_what_was_refused_lately_is_told_with_rule_line_entry_and_author():
    node = Answers()
    broken = {"rule": "short", "line": 9, "detail": HOSTILE, "entry": HASH}
    node.happen("chain.rejected", app=DNA.hex(), agent="02" * 32, action=HASH, **broken)
    node.happen("chain.rejected", app="00" * 32, agent="02" * 32, **broken | {"rule": "else"})
    node.happen("chain.rejected", app="nonsense", agent=None, **broken | {"rule": "else"})
    node.happen("chain.committed", app=DNA.hex(), agent="01" * 32, rule="else")
    node.happen("chain.rejected", app=DNA.hex(), agent="01" * 32, **broken | {"rule": "mine"})
    text = await view("/apps/book", node)
    said = words(text.partition('id="refused"')[2].partition("</section>")[0])
    assert said.index("mine , line 9 of the rules") < said.index("short , line 9 of the rules")
    assert "Written by you" in said
    assert f"Written by {OTHER[:12]}" in said
    assert "else" not in said
    assert f"/apps/book/{HASH}" in text.partition('id="refused"')[2].partition("</section>")[0]


def far(**changes: Any) -> dict[str, Any]:
    complete = bool(changes.get("enough"))
    return {
        "verdict": {"verdict": "valid"},
        "published": {"complete": complete, "ops": [OP | changes]},
    }


@pytest.mark.parametrize(
    ("journey", "said"),
    [
        (far(enough="everybody", signers=["a", "b"]), "Everybody holds it: 2 nodes signed"),
        (far(enough="near", signers=["a", "b"]), "All who lie near it hold it: 2 nodes signed"),
        (far(enough="uptime", uptime=8.24), "Enough nodes hold it: uptime 8.2 of 8."),
        (far(), "On its way: 1 node signed so far, 0 of 1 parts are held by enough."),
        (far(signers=[], members=0), "It is kept here; 3 nodes can be asked to hold it"),
        ({"verdict": {"verdict": "valid"}, "published": None}, "It is of somebody else"),
        ({"verdict": {"verdict": "invalid", "rule": "short"}}, "It breaks the rule short"),
    ],
    ids=range(7),
)
def test_how_far_an_action_has_got_is_a_sentence(journey, said):
    assert apps.summary(journey, 8, 3).startswith(said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"enough": "everybody"}, "everybody of 5"),
        ({"enough": "near"}, "all who lie near it"),
        ({"enough": "uptime", "uptime": 8.24}, "uptime 8.2 of 8"),
        ({}, "uptime 0.2 of 8"),
    ],
    ids=range(4),
)
def test_why_it_is_enough(changes, said):
    assert apps.enough(OP | changes, 8) == said


@in_loop
async def test_a_journey_looks_again_until_it_is_complete():
    node = Answers()
    assert "data-poll" in await view(f"/apps/book/{HASH}", node)
    node.journey["published"] = {"complete": True, "ops": [OP | {"enough": "everybody"}]}
    text = await view(f"/apps/book/{HASH}", node)
    assert "data-poll" not in text
    assert "everybody of 5" in text
    node.journey["verdict"] = {"verdict": "invalid", "rule": "short", "line": 9, "detail": "long"}
    text = words(await view(f"/apps/book/{HASH}", node))
    assert "short , line 9 of the rules: long" in text


@in_loop
async def test_a_private_entry_and_odd_values_can_be_shown():
    node = Answers()
    deep: Any = 1
    for _ in range(12):
        deep = [deep]
    node.entry = {"a": True, "b": None, "c": [], "d": {}, "e": deep, "f": list(range(60))}
    text = words(await view("/apps/book", node))
    assert "a yes b nothing c none d empty" in text
    assert "and 10 more" in text


@in_loop
async def test_apps_of_others_are_found_or_it_is_said_why_not():
    assert "Nobody answered. Try again." in await view("/apps?find=nowhere")
    assert "Nobody who was asked has published such an app." in await view("/apps?find=none")
    assert f'name="what" value="{HASH}"' in await view("/apps?find=")
    assert f'name="what" value="{HASH}"' not in await view("/apps?find=here")
    text = await view("/apps")
    assert 'name="what" value="notes"' in text
    assert 'name="what" value="chess"' not in text


@in_loop
async def test_without_apps_the_view_says_what_to_do_and_a_wrong_name_what_happened():
    node = Answers()
    node.app = {}
    assert "No app is installed" in await view("/apps", node)
    assert "There is no app &#39;nope&#39;." in await view("/apps/nope", code=404)


@in_loop
async def test_the_search_box_finds_apps():
    assert 'href="/apps/book"' in await view("/search?q=BOO")
    assert 'href="/apps/book"' not in await view("/search?q=boo+zebra")
