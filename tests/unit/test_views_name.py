"""What a person reads after commands about names, places of messages, and delivery services."""

from __future__ import annotations

from typing import Any

import pytest

from dms3.cli.views_name import NAME_VIEWS

KEY_NAME = "a" * 52 + ".dms3"
STORAGE = {
    "kind": "webdav",
    "url": "https://cloud.example/dms3",
    "items": 1_200,
    "bytes": 5_000_000,
    "pending": 3,
    "problem": "The WebDAV server did not answer.",
    "moving": 0.5,
    "offered": [{"kind": "s3", "tested": True, "text": "a bucket"}],
}
RESOLVED = {
    "name": "b\u043eb.eth",
    "vouched": "ens",
    "address": "0xabc",
    "fingerprint": "",
    "aliases": ["robert.eth"],
    "services": ["ds.eth"],
    "letters": ["U+043E CYRILLIC SMALL LETTER O"],
}
STATUS = {
    "name": KEY_NAME,
    "url": "https://ds.example/dm3",
    "accounts": 1,
    "messages": 2,
    "bytes": 12_000,
    "accepted": 4,
    "duplicates": 1,
    "acknowledged": 2,
    "refused": {"forbidden": 7},
}
TOKEN = {"minTokenBalance": {"address": "0xdef", "amount": "9"}}
RULES = {
    "services": [
        {"name": "one.dms3", "rules": {"minNonce": 5, "minBalance": "1", **TOKEN}},
        {"name": "two.dms3", "rules": {}},
        {"name": "three.dms3", "rules": None, "problem": "it did not answer"},
    ]
}
CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("name show", RESOLVED, ["Ethereum Name Service", "no profile", "robert.eth", "CYRILLIC"]),
    (
        "name list",
        {
            "primary": "me.eth",
            "names": ["me.eth", KEY_NAME],
            "service_name": "s",
            "record": "data:",
        },
        ["me.eth", "from this name", "network.dm3.profile", "data:"],
    ),
    (
        "name list",
        {
            "primary": "me.eth",
            "names": ["me.eth"],
            "service_name": "s",
            "record": None,
            "problem": "Nothing is published yet.",
        },
        ["no record for an ENS name now", "Nothing is published yet."],
    ),
    ("name forget", {"name": "x.dms3", "forgotten": False}, ["was not known"]),
    (
        "message storage",
        STORAGE,
        ["webdav", "5 MB", "3 items on the way", "50%", "did not answer"],
    ),
    ("message earlier", {"person": "x", "came": 1}, ["1 earlier message came"]),
    ("message devices", {"devices": []}, ["No device"]),
    (
        "message devices",
        {"devices": [{"id": "ab" * 16, "name": "desk", "seen_us": 0, "this": True}]},
        ["desk", "has not written", "this one"],
    ),
    ("message remove-device", {"name": "old", "generation": 2}, ["old", "twelve words"]),
    ("delivery status", STATUS, ["2 messages waiting", "came twice", "refused 7: forbidden"]),
    ("delivery rules", RULES, ["5 transactions", "1 wei", "0xdef", "need nothing", "not answer"]),
    ("delivery rules", {"services": []}, ["No delivery service"]),
]


@pytest.mark.parametrize(("command", "data", "said"), CASES)
def test_it_says(command: str, data: dict[str, Any], said: list[str]) -> None:
    lines = ["".join(text for text, _ in line) for line in NAME_VIEWS[command](data)]
    text = "\n".join(lines)
    for words in said:
        assert words in text
