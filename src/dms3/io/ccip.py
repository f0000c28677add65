"""Gateways of ENS: what contracts keep off the chain, asked as ERC-3668 says, within bounds.

Source: ERC-3668; ENSIP-21 (batches). Whoever owns a name chooses its gateways, so they are
strangers: only https unless the whole network is local, and only addresses that the door allows.
The contract checks what a gateway answers, nobody here does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    CCIP_ANSWER_BYTES_MAX,
    CCIP_BATCH_MAX,
    CCIP_SECONDS_MAX,
    CCIP_URLS_MAX,
    DM3_URL_CHARS_MAX,
)
from dms3.dm3.canonical import parse
from dms3.dm3.ens import LOCAL_BATCH, OffchainLookup, Query, answer_batch, read_batch

Open = Callable[
    [str, str, bytes | None], AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]
]
"""(method, URL, JSON body) -> status and body of the answer; raises Dms3Error."""

Lookup = OffchainLookup | Query


class Ccip:
    """The gateways behind the door `open_`; `is_local`: whether http will do."""

    def __init__(self, open_: Open, is_local: Callable[[], bool]) -> None:
        self._open = open_
        self._is_local = is_local

    async def answer(self, lookup: Lookup) -> bytes:
        """What the first gateway of `lookup` that answers says; raises what the last one did."""
        try:
            async with asyncio.timeout(CCIP_SECONDS_MAX):
                if LOCAL_BATCH in lookup.urls:
                    return await self._batch(lookup.data)
                return await self._first(lookup)
        except TimeoutError as cause:
            why = f"No gateway of the name answered in {CCIP_SECONDS_MAX} s."
            raise Dms3Error("timed_out", why) from cause

    async def _batch(self, data: bytes) -> bytes:
        """Be the gateway of a batch: its look-ups, side by side, each with its own gateways.

        Together they try no more than one look-up does: whoever asks for a name of their own would
        have this node ask hundreds of others.
        """
        queries = read_batch(data)
        if len(queries) > CCIP_BATCH_MAX:
            raise Dms3Error("content_invalid", f"A batch has over {CCIP_BATCH_MAX} look-ups.")

        async def one(query: Query) -> bytes | Dms3Error:
            try:
                return await self._first(query, CCIP_URLS_MAX // len(queries))
            except Dms3Error as error:
                return error

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(query)) for query in queries]
        answers = [task.result() for task in tasks]
        failures = [answer for answer in answers if isinstance(answer, Dms3Error)]
        if failures and len(failures) == len(answers):
            raise failures[0]
        return answer_batch([None if isinstance(each, Dms3Error) else each for each in answers])

    async def _first(self, lookup: Lookup, most: int = CCIP_URLS_MAX) -> bytes:
        failure = Dms3Error("content_invalid", "The name leads to no gateway that could be asked.")
        for template in lookup.urls[:most]:
            try:
                return await self._ask(template, lookup)
            except _FinalError as error:
                raise Dms3Error("content_unavailable", str(error)) from error
            except Dms3Error as error:
                failure = error
        raise failure

    async def _ask(self, template: str, lookup: Lookup) -> bytes:
        """One gateway; 4xx is final (ERC-3668), anything else lets the next one try."""
        if len(template) > DM3_URL_CHARS_MAX or template.count("{data}") > 1:
            raise Dms3Error("content_invalid", "The URL of a gateway is too long.")
        data = "0x" + lookup.data.hex()
        sender = lookup.sender.lower()
        url = template.replace("{sender}", sender).replace("{data}", data)
        if not url.startswith("https://") and not (self._is_local() and url.startswith("http://")):
            why = f"The gateway {template[:80]!r} is not reached by https, so it is not asked."
            raise Dms3Error("peer_refused", why)
        body = None
        if "{data}" not in template:
            body = json.dumps({"data": data, "sender": sender}).encode()
        method = "GET" if body is None else "POST"
        async with self._open(method, url, body) as (status, pieces):
            if 400 <= status < 500:
                raise _FinalError(f"The gateway {template[:80]!r} answers with status {status}.")
            if status != 200:
                why = f"The gateway {template[:80]!r} answers with status {status}."
                raise Dms3Error("peer_unreachable", why)
            answer = bytearray()
            async for piece in pieces:
                answer += piece
                if len(answer) > CCIP_ANSWER_BYTES_MAX:
                    raise Dms3Error("content_invalid", "A gateway answers too much.")
        return read_answer(bytes(answer))


class _FinalError(Exception):
    """A gateway refuses; no other one is to be asked."""


def read_answer(body: bytes) -> bytes:
    """The data in the JSON that a gateway answers; raises `content_invalid`."""
    try:
        value = parse(body, CCIP_ANSWER_BYTES_MAX)
        text = value.get("data") if isinstance(value, dict) else None
        if isinstance(text, str) and text.startswith("0x"):
            return bytes.fromhex(text[2:])
    except (DecodeError, ValueError):
        pass
    raise Dms3Error("content_invalid", "A gateway answers what is no data.")
