"""The JSON-RPC of a delivery service: an envelope is submitted, properties are asked for.

Source: dm3 reference, packages/delivery-service/src/rpc; error codes of the dm3 specification where
the reference answers nothing. docs/dm3.md, "Delivery service".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dms3.api.dm3_answers import Answer, Asked, check_parts, plain, said, status_of
from dms3.core.errors import Dms3Error, Retry
from dms3.delivery.admission import SCHEMA, named
from dms3.dm3.extension import ProfileExtension
from dms3.node.delivering import Delivering

# dm3 specification, "Error codes" of the delivery service API.
_RPC_CODES = {
    "not_found": -32001,
    "timed_out": -32002,
    "node_busy": -32002,
    "node_stopping": -32002,
    "disk_full": -32002,
    "unauthorized": -32003,
    "limit_reached": -32005,
    "forbidden": -32010,
    "body_too_large": -32011,
}
_INVALID_INPUT = -32000


async def answer_rpc(service: Delivering, asked: Asked) -> Answer:
    """The answer to POST /rpc."""
    check_parts(asked, 1)
    try:
        body = await asked.json()
    except Dms3Error as error:
        if error.code != "body_malformed":
            raise
        return _rpc_error(None, error)
    if not isinstance(body, dict) or body.get("method") is None:
        return plain(400)
    params = body.get("params")
    first = params[0] if isinstance(params, list) and params else None
    match body["method"]:
        case "dm3_submitMessage":
            return await _submit(service, first, body)
        case "dm3_getDeliveryServiceProperties":
            return _result(body, service.properties.text())
        case "dm3_getProfileExtension":
            return await _extension(service, first, body)
    return said({"error": "Method not allowed"}, 405)


async def _submit(service: Delivering, given: Any, body: Mapping[str, Any]) -> Answer:
    if not given:
        return Answer(400, b"Envelop missing")
    try:
        await service.submit(given)
    except Dms3Error as error:
        match error.code:
            case "body_malformed":
                return Answer(400, b"Error parsing envelop")
            case "content_invalid" if error.message == SCHEMA:
                return said({"error": SCHEMA, "hint": error.hint}, 400)
        return _rpc_error(body.get("id"), error)
    return Answer(200, b"OK")


async def _extension(service: Delivering, name: Any, body: Mapping[str, Any]) -> Answer:
    try:
        receiver = await service.accounts.of_name(named(name))
    except Dms3Error as error:
        if error.code != "argument_invalid":
            return _rpc_error(body.get("id"), error)
        receiver = None
    if receiver is None:
        return said({"error": "unknown user"}, 400)
    return _result(body, ProfileExtension().text())


def _result(body: Mapping[str, Any], result: str) -> Answer:
    echoed = {"id": body["id"]} if "id" in body else {}
    return said({"jsonrpc": "2.0", "result": result, **echoed})


def _rpc_error(identifier: Any, error: Dms3Error) -> Answer:
    """A JSON-RPC error; the status is 400 as the reference's unless trying again can help."""
    status = status_of(error) if error.retry is not Retry.NEVER else 400
    told = {
        "code": _RPC_CODES.get(error.code, _INVALID_INPUT),
        "message": error.message,
        "data": {"code": error.code, "hint": error.hint, "retry": error.retry.value},
    }
    return said({"jsonrpc": "2.0", "id": identifier, "error": told}, status)
