"""What a person reads of messages."""

from typing import Any

from dms3.cli.views import VIEWS

PERSON = {
    "id": "bob.eth", "name": "bob", "names": ["bob.eth"], "address": "", "root": "",
    "standing": "contact", "fingerprint": "4f2a 91c0", "verified": False, "changed": False,
    "vouched": "ens",
}  # fmt: skip
ROW = {
    "id": 1, "hash": "0x1", "person": "bob.eth", "mine": False, "from": "bob.eth", "to": "me.eth",
    "type": "NEW", "text": "first\nsecond", "sent_us": 0, "order_us": 1_700_000_000_000_000,
    "state": "read", "problem": "", "retry_us": 0, "edited": False, "deleted": False,
    "reactions": [], "reply": None, "attachments": [], "information": "",
}  # fmt: skip


def text(command: str, data: dict[str, Any]) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in VIEWS[command](data)]


def conversation(**row: Any) -> list[str]:
    data = {"person": PERSON, "messages": [ROW | row], "before": None}
    return text("message conversation", data)


def test_a_message_is_shown_with_what_happened_to_it() -> None:
    assert conversation() == ["2023-11-14 22:13  bob", "  first", "  second"]
    assert conversation(mine=True, state="queued", problem="Nobody answers.") == [
        "2023-11-14 22:13  you  on its way", "  first", "  second", "  Nobody answers.",
    ]  # fmt: skip
    shown = conversation(
        edited=True,
        reply={"hash": "0x0", "text": "When?", "from": "me.eth"},
        attachments=[{"name": "a.png", "media": "image/png", "bytes": 1234}],
        reactions=[{"text": "👍", "from": "me.eth", "mine": True}],
        information="A service says it is from carol.eth.",
    )
    assert shown == [
        "2023-11-14 22:13  bob  edited", "  > When?", "  first", "  second",
        "  [0] a.png  1.23 kB", "  👍", "  A service says it is from carol.eth.",
    ]  # fmt: skip
    assert conversation(deleted=True, text="") == ["2023-11-14 22:13  bob", "  (deleted)"]


def test_changed_keys_are_said_first() -> None:
    changed = PERSON | {"changed": True}
    data = {"person": changed, "messages": [], "before": None}
    (line,) = text("message conversation", data)
    assert line.startswith("The keys of bob are others than before.")
    data = {"conversations": [{"person": changed, "last": ROW, "unread": 2, "total": 9}]}
    lines = text("message conversations", data | {"requests": 1, "blocked": 0})
    assert lines[0] == "bob  2 new"
    assert lines[1].startswith("The keys of bob")
    assert lines[-1] == "1 stranger: dms3 message people"


def test_who_vouches_and_what_to_compare_is_said() -> None:
    data = {
        "name": "bob", "names": ["bob.eth"], "vouched": "card", "fingerprint": "4f2a 91c0",
        "verified": True, "changed": False, "problem": "",
        "services": [{"name": "ds.eth", "url": "https://ds.example"}],
    }  # fmt: skip
    assert text("message profile", data) == [
        "bob  by a card of theirs", "  fingerprint  4f2a 91c0  compared", "  name         bob.eth",
        "  service      ds.eth  https://ds.example",
    ]  # fmt: skip


def test_names_that_are_keys_are_shortened() -> None:
    key = "a" * 52 + ".dms3"
    (line, *_) = text("message inbox", {"messages": [ROW | {"from": key}], "next": 1})
    assert line == "2023-11-14 22:13  aaaaaaaa....dms3"
