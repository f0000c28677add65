"""What docs/interfaces.md says of every command's data is what two running nodes answer."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dms3.node.commands import TABLE
from dms3.sdk import SyncClient
from docs.network import network
from docs.tables import rows, words
from network.running import wait_until

ELSEWHERE = {
    "name add",  # asks Ethereum: tests/interop/test_ens.py
    "message remove-device",  # needs a second device: tests/unit/storage/test_storage.py
    "message keys-from-wallet",  # needs a wallet's signature: tests/network/test_messages.py
    "chain restore",  # needs a second home: tests/network/test_chain_restore.py
    "chain revoke",  # needs a second device: tests/network/test_chain_restore.py
}
TEXT = "Dear Bob, we meet on Friday at nine to plant the garden.\n"


def shapes() -> dict[str, str]:
    """Command -> its documented data; a row may be about several."""
    return {
        command: words(row[1])[0]
        for row in rows("interfaces.md", "result of")
        for command in words(row[0])
    }


def split(shape: str) -> list[str]:
    """The parts of "a, b: [{c, d}], e" between commas outside of brackets."""
    parts, depth = [""], 0
    for char in shape:
        depth += (char in "[{") - (char in "]}")
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def check(shape: str, data: dict[str, Any], where: str) -> None:
    """The keys of `data`, and of the objects in it, are those of `shape`."""
    parts = dict(re.fullmatch(r"([\w.]+)(?:: (.*))?", part).groups() for part in split(shape))
    open_ended = "..." in parts
    parts.pop("...", None)
    missing = set(parts) - set(data)
    more = set() if open_ended else set(data) - set(parts)
    assert not missing, f"{where}: not there: {sorted(missing)}"
    assert not more, f"{where}: not documented: {sorted(more)}"
    for key, inner in parts.items():
        if inner:
            values = data[key] if inner.startswith("[") else [data[key]]
            for value in values:
                check(
                    inner.strip("[]").removeprefix("{").removesuffix("}"), value, f"{where} {key}"
                )


def answers(folder: Path) -> dict[str, dict[str, Any]]:
    """The data of every command, in an order in which each has something to say."""
    letter = folder / "bob.txt"
    letter.write_text(TEXT)
    found: dict[str, dict[str, Any]] = {}
    with (
        network(folder),
        SyncClient(folder / "net/alice") as alice,
        SyncClient(folder / "net/bob") as bob,
    ):

        def ask(name: str, **arguments: Any) -> dict[str, Any]:
            noun, _, verb = name.partition(" ")
            found[name] = alice.call(noun, verb, **arguments)
            return found[name]

        card = ask("contact card")["card"]
        bob.call("contact", "add", card=card)
        ask("contact add", card=bob.call("contact", "card")["card"])
        added = ask("store add", paths=[str(letter)], space="letters")
        for name in ("status", "doctor", "id show", "id words", "contact list", "peer list"):
            ask(name)
        ask("id confirm")
        ask("peer world")
        ask("peer gossip")
        ask("peer ping", peer="bob")
        ask("peer connect", address=bob.call("status")["addresses"][0])
        ask("store share", space="letters", **{"with": "bob"})
        ask("store list", space="letters")
        ask("store recent")
        ask("store containers")
        ask("store get", cid=added["root"])
        more = folder / "more"
        more.mkdir()
        (more / "plan.txt").write_text(TEXT)
        whole = alice.call("store", "add", paths=[str(more)], space="letters")
        ask("store folder", cid=whole["root"])
        car = folder / "more.car"
        car.write_bytes(alice.download(ask("store export", cid=whole["root"])["blob"]))
        ask("store import", file=str(car), space="brought")
        ask("search", query="garden", scope="all")
        ask("store verify")
        ask("store backup", url=str(folder / "kept"))
        found["store restore"] = restored(folder, found["id words"]["words"])
        ask("store publish", space="letters")
        ask("store unpublish", space="letters")
        ask("store unshare", space="letters", **{"with": "bob"})
        ask("store remove", cid=added["root"])
        found["delivery status"] = bob.call("delivery", "status")
        ask("delivery rules")
        found |= messages(alice, bob, letter)
        found |= apps(alice, bob, folder)
        ask("contact remove", contact="bob")
        ask("id protect", passphrase="correct horse battery staple")
        ask("unlock", passphrase="correct horse battery staple")
    return found


def messages(alice: SyncClient, bob: SyncClient, letter: Path) -> dict[str, dict[str, Any]]:
    """The data of commands about messages and names; alice and bob have each other's cards."""
    found: dict[str, dict[str, Any]] = {}

    def ask(name: str, /, **arguments: Any) -> dict[str, Any]:
        noun, _, verb = name.partition(" ")
        found[name] = alice.call(noun, verb, **arguments)
        return found[name]

    own = ask("name list")["key_name"]
    sent = ask("message send", name="bob", text=TEXT, attach=[str(letter)])["hash"]
    ask("message edit", hash=sent, text="Dear Bob, on Saturday.")
    ask("message react", hash=sent, text="!")
    ask("message attachment", hash=sent, number=0)
    bob.call("message", "send", name="alice", text="On Saturday, then.")
    wait_until(lambda: bool(ask("message inbox")["messages"]))
    ask("message conversation", name="bob")
    ask("message conversations")
    for verb in ("opened", "profile", "block", "unblock", "accept", "verified", "earlier"):
        ask(f"message {verb}", name="bob")
    for verb in ("fetch", "people", "services", "settings", "storage", "devices"):
        ask(f"message {verb}")
    service = bob.call("delivery", "status")["name"]
    ask("message carry", name=service)
    ask("message uncarry", name=service)
    ask("message store-in", kind="local")
    kept = ask("message export")
    exported = letter.with_name("messages")
    exported.write_bytes(alice.download(kept["blob"]))
    ask("message import", file=str(exported))
    ask("message delete", hash=sent)
    ask("message forget", name="bob")
    ask("name claim", name="alice-of-the-pages.dms3")
    ask("name show", name=own)
    ask("name use", name="alice-of-the-pages.dms3")
    ask("name drop", name="alice-of-the-pages.dms3")
    ask("name forget", name="alice-of-the-pages.dms3")
    return found


def apps(alice: SyncClient, bob: SyncClient, folder: Path) -> dict[str, dict[str, Any]]:
    """The data of commands about apps, entries and chains."""
    found: dict[str, dict[str, Any]] = {}

    def ask(name: str, /, **arguments: Any) -> dict[str, Any]:
        noun, _, verb = name.partition(" ")
        found[name] = alice.call(noun, verb, **arguments)
        return found[name]

    ask("dapp install", what="guestbook")
    for verb in ("list", "show", "open", "token"):
        ask(f"dapp {verb}", **({} if verb == "list" else {"dapp": "guestbook"}))
    line = {"text": TEXT.strip(), "name": "Alice"}
    ask("dapp call", dapp="guestbook", function="sign", arguments=line)
    put = ask("entry put", dapp="guestbook", type="entry", content=line | {"name": "A"})
    ask("entry get", hash=put["entry"])
    ask("entry links", base="guestbook")
    ask("entry history")
    ask("entry journey", hash=put["action"])
    ask("chain list")
    ask("chain show", dapp="guestbook")
    ask("chain figures", dapp="guestbook")
    ask("chain reconcile", dapp="guestbook")
    published = ask("dapp publish", dapp="guestbook")
    wait_until(lambda: bool(bob.call("dapp", "discover")["dapps"]))
    found["dapp discover"] = bob.call("dapp", "discover")
    assert found["dapp discover"]["dapps"][0]["cid"] == published["cid"]
    signed_together(alice, bob, found)
    granted(ask, folder)
    invited(ask, folder, bob)
    blocked(ask, bob)
    ask("dapp remove", dapp="guestbook")
    return found


def invited(ask: Callable[..., dict[str, Any]], folder: Path, bob: SyncClient) -> None:
    """An app and networks to which people are invited."""
    root, own = bob.call("id", "show")["root"], ask("id show")["root"]
    club = folder / "club"
    club.mkdir()
    by = f'{{ scheme = "invite", by = ["{own}"], needed = 1 }}'
    (club / "dapp.toml").write_text(f'name = "club"\nmembrane = {by}\n')
    (club / "rules.py").write_text("from dapp import rule\n")
    ask("dapp install", files=[str(club)])
    ask("dapp invite", dapp="club", who=root)
    ask("network create", name="club", admins=[root], needed=2)
    made = ask("network invite", name="club", who="ab" * 32)
    found = bob.call("network", "join", invitation=made["invitation"])
    assert found["name"] == "club"
    bob.call("network", "create", name="walks", membrane="member")
    theirs = bob.call("network", "invite", name="walks", who=own)
    ask("network join", invitation=theirs["invitation"])
    ask("network sign", invitation=made["invitation"])
    ask("network list")
    ask("network members", name="club")
    ask("network leave", name="club")


def blocked(ask: Callable[..., dict[str, Any]], bob: SyncClient) -> None:
    """Of agents that broke rules, as far as two honest nodes have such a thing."""
    (own,) = bob.call("id", "show")["agents"]
    named = {"dapp": "guestbook", "agent": own["agent"]}
    ask("warrant block", **named, why="rude")
    assert ask("warrant list")["warrants"]
    ask("warrant show", agent=named["agent"])
    ask("warrant pardon", **named)


def signed_together(alice: SyncClient, bob: SyncClient, found: dict[str, dict[str, Any]]) -> None:
    """Bob proposes two agreements; Alice accepts one."""
    for one in (alice, bob):
        one.call("dapp", "install", what="agreement")
    partner = alice.call("dapp", "call", dapp="agreement", function="me")["value"]

    def waiting() -> list[str]:
        found["dapp sessions"] = alice.call("dapp", "sessions", dapp="agreement")
        rows = found["dapp sessions"]["sessions"]
        return [row["session"] for row in rows if row["state"] == "proposed"]

    def ask_alice(title: str) -> None:
        text = {"title": title, "text": TEXT, "partner": partner}
        bob.call("dapp", "call", dapp="agreement", function="propose", arguments=text)

    ask_alice("no")
    wait_until(lambda: len(waiting()) == 1)
    found["dapp decline"] = alice.call("dapp", "decline", session=waiting()[0])
    ask_alice("yes")
    wait_until(lambda: len(waiting()) == 1)
    found["dapp accept"] = alice.call("dapp", "accept", session=waiting()[0])


def granted(ask: Callable[..., dict[str, Any]], folder: Path) -> None:
    """An app whose function others may be let call, and the same with other rules."""
    app = folder / "lent"
    app.mkdir()
    (app / "dapp.toml").write_text('name = "lent"\nfunctions = "functions.py"\n')
    (app / "rules.py").write_text("from dapp import rule\n")
    (app / "functions.py").write_text(
        'from dapp import expose\n\n@expose("transferable")\ndef lend():\n    return 1\n'
    )
    assert ask("dapp install", files=[str(app)])["state"] == "ready"
    ask("dapp grant", dapp="lent", functions=["lend"])
    (grant,) = ask("dapp grants", dapp="lent")["grants"]
    ask("dapp revoke", dapp="lent", grant=grant["grant"])
    (app / "rules.py").write_text("from dapp import rule  # other rules\n")
    ask("dapp migrate", dapp="lent", files=[str(app)])


def restored(folder: Path, twelve: list[str] | str) -> dict[str, Any]:
    """What the command says that brings the backup back into a new home."""
    secret = folder / "words"
    secret.write_text(twelve if isinstance(twelve, str) else " ".join(twelve))
    command = [sys.executable, "-m", "dms3", "store", "restore", str(folder / "kept"), "--json"]
    places = ["--home", str(folder / "new"), "--words-file", str(secret)]
    done = subprocess.run([*command, *places], check=True, capture_output=True, text=True)
    data: dict[str, Any] = json.loads(done.stdout)["data"]
    return data


def test_every_command_answers_what_is_documented(tmp_path: Path) -> None:
    documented, found = shapes(), answers(tmp_path)
    assert sorted(documented) == sorted(command.name for command in TABLE)
    assert sorted(found) == sorted(set(documented) - ELSEWHERE)
    for name in found:
        check(documented[name], found[name], name)
    assert found["search"]["hits"], "a search without hits shows no shape"
    assert found["store folder"]["entries"]


def test_a_difference_is_seen() -> None:
    check("a, b: [{c}], ...", {"a": 1, "b": [{"c": 1}], "d": 1}, "x")
    for shape, data in (
        ("a", {}),
        ("a", {"a": 1, "b": 1}),
        ("a: [{b}]", {"a": [{"c": 1}]}),
        ("a: {b}", {"a": {}}),
    ):
        try:
            check(shape, data, "x")
        except AssertionError:
            continue
        raise AssertionError(f"{shape} passed for {data}")
