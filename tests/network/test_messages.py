"""Messages between real nodes: from the command line of one person to that of the other."""

import base64
import contextlib
import http.client
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dms3.core.errors import Dms3Error
from network.running import Running, running, wait_until
from network.test_two_people import meet

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SCRIPT = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


@pytest.fixture(scope="module", name="people")
def fixture_people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running]]:
    """The nodes of alice and bob, who have each other's card; no service carries anything."""
    folder: Path = tmp_path_factory.mktemp("people")
    with (
        running(folder / "alice", "--name", "alice") as alice,
        running(folder / "bob", "--name", "bob") as bob,
    ):
        meet(alice, bob)
        yield alice, bob


def rows(node: Running, name: str, limit: int = 500) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = node.call("message", "conversation", name=name, limit=limit)[
        "messages"
    ]
    return found


def texts(node: Running, name: str) -> list[str]:
    return [row["text"] for row in rows(node, name)]


def row_of(node: Running, name: str, message: str) -> dict[str, Any]:
    return next((row for row in rows(node, name) if row["hash"] == message), {})


def state(node: Running, name: str, message: str) -> str:
    return str(row_of(node, name, message).get("state"))


def send(node: Running, name: str, text: str, **more: Any) -> str:
    return str(node.call("message", "send", name=name, text=text, **more)["hash"])


def arrived(node: Running, name: str, message: str) -> None:
    wait_until(lambda: bool(row_of(node, name, message)))


def blob(node: Running, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*node.api)
    with contextlib.closing(connection):
        headers = {"Authorization": f"Bearer {node.token}"}
        connection.request("GET", f"/api/v1/blob/{path}", headers=headers)
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, told, answer.read()


def test_a_message_is_delivered_read_and_answered(people: tuple[Running, Running]) -> None:
    alice, bob = people
    sent = alice.call("message", "send", name="bob", text="We meet on Friday. 🎉")
    assert sent["state"] == "queued"
    arrived(bob, "alice", sent["hash"])
    wait_until(lambda: state(alice, "bob", sent["hash"]) == "delivered")
    row = row_of(bob, "alice", sent["hash"])
    assert (row["text"], row["mine"], row["state"]) == ("We meet on Friday. 🎉", False, "received")
    assert row["information"] == ""
    assert bob.call("message", "conversations")["conversations"][0]["unread"] == 1
    assert bob.call("message", "opened", name="alice") == {"read": 1}
    assert bob.call("message", "opened", name="alice") == {"read": 0}
    wait_until(lambda: state(alice, "bob", sent["hash"]) == "read")
    assert bob.call("message", "conversations")["conversations"][0]["unread"] == 0
    reply = send(bob, "alice", "I shall be there.", reply=sent["hash"])
    arrived(alice, "bob", reply)
    answer = row_of(alice, "bob", reply)
    assert answer["type"] == "REPLY"
    assert answer["reply"]["text"] == "We meet on Friday. 🎉"
    last = alice.call("message", "inbox")
    assert last["messages"][-1]["hash"] == reply
    assert alice.call("message", "inbox", since=last["next"])["messages"] == []


def test_edits_reactions_and_deletions_are_folded_into_the_message(
    people: tuple[Running, Running],
) -> None:
    alice, bob = people
    message = send(alice, "bob", "At nine o'clok.")
    arrived(bob, "alice", message)
    alice.call("message", "edit", hash=message, text="At nine o'clock.")
    wait_until(lambda: row_of(bob, "alice", message)["edited"])
    for node, name in ((alice, "bob"), (bob, "alice")):
        assert row_of(node, name, message)["text"] == "At nine o'clock."
    bob.call("message", "react", hash=message, text="👍")
    wait_until(lambda: bool(row_of(alice, "bob", message)["reactions"]))
    (reaction,) = row_of(alice, "bob", message)["reactions"]
    assert (reaction["text"], reaction["mine"]) == ("👍", False)
    with pytest.raises(Dms3Error, match="only its sender"):
        bob.call("message", "edit", hash=message, text="At ten.")
    assert bob.call("search", query="clock", kind="message")["total"] == 1
    alice.call("message", "delete", hash=message)
    wait_until(lambda: row_of(bob, "alice", message)["deleted"])
    assert row_of(bob, "alice", message)["text"] == ""
    assert bob.call("search", query="clock", kind="message")["total"] == 0


def test_a_message_is_found_here_and_by_nobody_else(people: tuple[Running, Running]) -> None:
    alice, bob = people
    message = send(alice, "bob", "The heron waits beside the ninth lock.")
    arrived(bob, "alice", message)
    for node in people:
        found = node.call("search", query="heron")
        (hit,) = found["hits"]
        assert (hit["kind"], hit["hash"], hit["cid"]) == ("message", message, "")
        assert "heron" in hit["snippet"]
        for scope in ("peers", "public"):
            assert node.call("search", query="heron", scope=scope)["total"] == 0
    spaces = [space["name"] for space in alice.call("store", "list")["spaces"]]
    assert spaces == ["documents"]
    for verb in ("share", "publish"):
        more = {"with": "bob"} if verb == "share" else {}
        with pytest.raises(Dms3Error, match="no space 'message'"):
            alice.call("store", verb, space="message", **more)


def test_files_travel_in_messages_and_are_never_pages(
    people: tuple[Running, Running], tmp_path: Path
) -> None:
    alice, bob = people
    (tmp_path / "point.png").write_bytes(PICTURE)
    (tmp_path / "drawing.svg").write_bytes(SCRIPT)
    files = [str(tmp_path / "point.png"), str(tmp_path / "drawing.svg")]
    message = send(alice, "bob", "Look.", attach=files)
    arrived(bob, "alice", message)
    told = row_of(bob, "alice", message)["attachments"]
    assert [(one["name"], one["media"]) for one in told] == [
        ("point.png", "image/png"),
        ("drawing.svg", "image/svg+xml"),
    ]
    assert [one["bytes"] for one in told] == [len(PICTURE), len(SCRIPT)]
    first = bob.call("message", "attachment", hash=message, number=0)
    status, headers, data = blob(bob, first["blob"])
    assert (status, data) == (200, PICTURE)
    assert headers["content-disposition"].startswith("attachment")
    assert headers["content-type"] == "application/octet-stream"
    status, headers, data = blob(bob, first["blob"] + "?inline")
    assert (status, headers["content-type"], data) == (200, "image/png", PICTURE)
    status, headers, data = blob(bob, f"{message}-1?inline")
    assert (status, json.loads(data)["code"]) == (400, "argument_invalid")
    status, headers, data = blob(bob, f"{message}-1")
    assert (status, data) == (200, SCRIPT)
    assert "sandbox" in headers["content-security-policy"]
    assert blob(bob, f"{message}-2")[0] == 404


def test_a_file_that_no_service_takes_is_refused_with_the_limit(
    people: tuple[Running, Running], tmp_path: Path
) -> None:
    alice, bob = people
    large, fits = tmp_path / "large", tmp_path / "fits"
    large.write_bytes(bytes(3_000_000))
    fits.write_bytes(bytes(400_000))
    with pytest.raises(Dms3Error) as refused:
        send(alice, "bob", "", attach=[str(large)])
    assert refused.value.code == "body_too_large"
    assert "takes at most" in refused.value.message
    message = send(alice, "bob", "", attach=[str(fits)])
    arrived(bob, "alice", message)
    assert blob(bob, f"{message}-0")[2] == bytes(400_000)


def test_words_that_are_no_message_are_refused(people: tuple[Running, Running]) -> None:
    alice, _ = people
    for arguments, code in (
        ({"name": "bob", "text": "  "}, "argument_invalid"),
        ({"name": "bob", "text": "x" * 50_001}, "body_too_large"),
        ({"name": "nobody at all", "text": "x"}, "not_found"),
        ({"name": "bob", "text": "x", "reply": "0x00"}, "not_found"),
        ({"name": "bob", "text": "x", "attach": ["/does/not/exist"]}, "argument_invalid"),
    ):
        with pytest.raises(Dms3Error) as refused:
            alice.call("message", "send", **arguments)
        assert refused.value.code == code, arguments


def test_what_somebody_is_called_and_who_vouches(people: tuple[Running, Running]) -> None:
    alice, bob = people
    arrived(bob, "alice", send(alice, "bob", "Is it you?"))  # whose keys are compared has written
    mine = bob.call("message", "profile")
    theirs = alice.call("message", "profile", name="bob")
    assert theirs["name"] == "bob"
    assert theirs["vouched"] == "card"
    assert theirs["fingerprint"] == mine["fingerprint"]
    assert theirs["profile"] == mine["profile"]
    assert theirs["verified"] is False
    assert alice.call("message", "verified", name="bob")["verified"] is True
    assert alice.call("message", "profile", name="bob")["verified"] is True
    by_name = alice.call("message", "conversation", name=mine["name"])["person"]
    assert by_name == alice.call("message", "conversation", name="bob")["person"]


def test_an_export_is_taken_in_by_nobody_who_changed_it(
    people: tuple[Running, Running], tmp_path: Path
) -> None:
    alice, bob = people
    kept = len(rows(alice, "bob"))
    made = alice.call("message", "export")
    _, _, data = blob(alice, made["blob"])
    assert len(data) == made["size"]
    wait_until(lambda: blob(alice, made["blob"])[0] == 404)  # it was made for one reader
    file = tmp_path / "messages.jsonl.gz"
    file.write_bytes(data)
    again = alice.call("message", "import", file=str(file))
    assert (again["messages"], again["new"], again["refused"]) == (made["messages"], 0, [])
    other = bob.call("message", "import", file=str(file))
    assert other["new"] == 0
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(Dms3Error, match="cut off"):
        alice.call("message", "import", file=str(file))
    assert len(rows(alice, "bob")) == kept


def test_a_receiver_who_was_away_gets_everything_in_order(tmp_path: Path) -> None:
    with running(tmp_path / "alice", "--name", "alice") as alice:
        with running(tmp_path / "bob", "--name", "bob") as bob:
            meet(alice, bob)
            first = send(alice, "bob", "0")
            arrived(bob, "alice", first)
        sent = [send(alice, "bob", str(number)) for number in range(1, 6)]
        assert {state(alice, "bob", one) for one in sent} == {"queued"}
        wait_until(lambda: row_of(alice, "bob", sent[0])["problem"] != "")
        with running(tmp_path / "bob") as bob:
            meet(alice, bob)
            wait_until(lambda: len(rows(bob, "alice")) == 6)
            assert texts(bob, "alice") == [str(number) for number in range(6)]
            wait_until(lambda: state(alice, "bob", sent[-1]) == "delivered")


def test_a_sender_who_is_killed_sends_after_the_start(tmp_path: Path) -> None:
    with running(tmp_path / "bob", "--name", "bob") as bob:
        with (
            contextlib.suppress(AssertionError),
            running(tmp_path / "alice", "--name", "alice") as alice,
        ):
            meet(alice, bob)
            arrived(bob, "alice", send(alice, "bob", "0"))
            bob.process.send_signal(signal.SIGSTOP)
            sent = [send(alice, "bob", str(number)) for number in range(1, 4)]
            assert {state(alice, "bob", one) for one in sent} == {"queued"}
            alice.process.kill()
            alice.process.wait()
        assert alice.process.returncode == -signal.SIGKILL
        bob.process.send_signal(signal.SIGCONT)
        with running(tmp_path / "alice") as alice:
            meet(alice, bob)
            wait_until(lambda: len(rows(bob, "alice")) == 4)
            assert texts(bob, "alice") == ["0", "1", "2", "3"]


def test_a_stranger_is_a_request_until_somebody_decides(tmp_path: Path) -> None:
    """Alice has bob's card; bob has never heard of alice."""
    with (
        running(tmp_path / "alice", "--name", "alice") as alice,
        running(tmp_path / "bob", "--name", "bob") as bob,
    ):
        alice.call("contact", "add", card=bob.call("contact", "card")["card"])
        message = send(alice, "bob", "You do not know me.")
        wait_until(lambda: bool(bob.call("message", "conversations")["conversations"]))
        (one,) = bob.call("message", "conversations")["conversations"]
        assert bob.call("message", "conversations")["requests"] == 1
        name = one["person"]["id"]
        assert one["person"]["standing"] == "request"
        assert one["last"]["text"] == "You do not know me."
        assert state(alice, "bob", message) == "sent"  # no receipt goes to a stranger
        assert bob.call("message", "accept", name=name)["standing"] == "contact"
        second = send(alice, "bob", "Now you do.")
        wait_until(lambda: state(alice, "bob", second) == "delivered")
        assert bob.call("message", "block", name=name)["standing"] == "blocked"
        send(alice, "bob", "Do you hear me?")
        assert bob.call("message", "conversations")["conversations"] == []
        assert bob.call("message", "conversations")["blocked"] == 1
        assert bob.call("message", "unblock", name=name)["standing"] == "contact"
        fourth = send(alice, "bob", "And now?")
        wait_until(lambda: state(alice, "bob", fourth) == "delivered")
        assert texts(bob, name) == ["You do not know me.", "Now you do.", "And now?"]


def test_settings_of_messages(people: tuple[Running, Running]) -> None:
    alice, bob = people
    assert bob.call("message", "settings") == {"receipts": True, "requests": True}
    assert bob.call("message", "settings", receipts="no") == {"receipts": False, "requests": True}
    message = send(alice, "bob", "Are you there?")
    arrived(bob, "alice", message)
    bob.call("message", "opened", name="alice")
    second = send(alice, "bob", "Well?")
    arrived(bob, "alice", second)
    assert state(alice, "bob", message) == "sent"
    assert bob.call("message", "settings", receipts="yes")["receipts"] is True
