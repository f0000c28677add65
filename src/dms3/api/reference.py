"""The OpenAPI document and the page /docs made from it: both follow from the table of commands.

Source: OpenAPI 3.1. The page is our own HTML without any script or foreign asset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from dms3.api.answers import JSON, NDJSON, PROBLEM, dumps
from dms3.api.routes import add_route
from dms3.node.table import BlobOrPath, Command, FolderUrl, InputPath, Json, Parameter
from dms3.web.templating import Pages

PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "hint"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what happened, with which value"},
        "code": {"type": "string", "description": "stable name of the error"},
        "hint": {"type": "string", "description": "what to do next, or empty"},
        "retry": {"enum": ["never", "later", "other_peer"]},
    },
}
RESULT_SCHEMA = {
    "type": "object",
    "required": ["v", "data"],
    "properties": {"v": {"const": 1}, "data": {"type": "object"}},
}
OF_CID = {
    "parameters": [
        {
            "name": "cid",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "title": "Cid"},
        }
    ]
}
_FAILED: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "The command failed; code, detail and hint say why.",
        "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


def request_of(command: Command) -> dict[str, Any]:
    """The request body of a command: a strict object of its parameters."""
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {p.name: _schema(p) for p in command.parameters},
    }
    required = [p.name for p in command.parameters if p.required]
    if required:
        schema["required"] = required
    return {
        "requestBody": {"required": bool(required), "content": {JSON: {"schema": schema}}},
        "x-cli": command.example,
        "x-streams": command.streams,
    }


def responses() -> dict[int | str, dict[str, Any]]:
    """The answers of every command."""
    line = {"type": "object", "description": "progress, item, data (last) or error (last)"}
    return {
        200: {
            "description": "The result; with Accept: application/x-ndjson one line a step.",
            "content": {
                JSON: {"schema": {"$ref": "#/components/schemas/Result"}},
                NDJSON: {"schema": line},
            },
        },
        **_FAILED,
    }


def file_responses(operation: str) -> dict[int | str, dict[str, Any]]:
    """The answers of the file routes."""
    if operation == "blob_put":
        schema = {"$ref": "#/components/schemas/Result"}
        return {
            201: {"description": "The id of the upload.", "content": {JSON: {"schema": schema}}},
            **_FAILED,
        }
    raw = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return {
        200: {"description": "The file.", "content": raw},
        206: {"description": "The asked range of the file.", "content": raw},
        **_FAILED,
    }


def upload_body() -> dict[str, Any]:
    """The request of an upload: any bytes, and a name for them."""
    raw = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    name = {"name": "name", "in": "query", "schema": {"type": "string"}}
    return {"requestBody": {"required": True, "content": raw}, "parameters": [name]}


def event_parameters() -> dict[str, Any]:
    """The query of the event stream."""
    since = {"name": "since", "in": "query", "schema": {"type": "integer", "minimum": 0}}
    topics = {"name": "topics", "in": "query", "schema": {"type": "string"}}
    since["description"] = "events after this id; without it: from now on"
    topics["description"] = "names separated by commas; without it: all"
    return {"parameters": [since, topics]}


def event_responses() -> dict[int | str, dict[str, Any]]:
    """The answers of the event stream."""
    stream = {"text/event-stream": {"schema": {"type": "string"}}}
    return {200: {"description": "{id, time, topic, data} each.", "content": stream}, **_FAILED}


def openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of `app`."""
    document = app.openapi()
    components = document.setdefault("components", {})
    components["schemas"] = {"Problem": PROBLEM_SCHEMA, "Result": RESULT_SCHEMA}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)  # our bodies are checked by the table
    return document


def add_reference(app: FastAPI, pages: Pages, described: Callable[[], FastAPI]) -> None:
    """Add /openapi.json and /docs to `app`; `described` returns its routes as FastAPI sees them."""

    async def openapi_json(_request: Request) -> Response:
        return Response(dumps(openapi(described())), media_type=JSON)

    async def docs(request: Request) -> Response:
        return pages.html(request, "reference.html", groups=_groups(openapi(described())))

    add_route(app, "GET", "/openapi.json", openapi_json)
    add_route(app, "GET", "/docs", docs)


def _groups(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Operations by tag, as the page shows them."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            body = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
            schema = body.get("schema", {})
            shown = {
                "method": method.upper(),
                "path": path,
                "id": operation["operationId"],
                "summary": operation["summary"],
                "description": operation.get("description", ""),
                "example": operation.get("x-cli", ""),
                "parameters": [
                    _row(name, part, required=name in schema.get("required", ()))
                    for name, part in schema.get("properties", {}).items()
                ]
                + [_row(p["name"], p["schema"], p) for p in operation.get("parameters", ())],
            }
            groups.setdefault(operation["tags"][0], []).append(shown)
    return groups


def _row(
    name: str,
    schema: dict[str, Any],
    about: dict[str, Any] | None = None,
    *,
    required: bool = False,
) -> dict[str, str]:
    about = about or schema
    kind = schema.get("type", "text")
    return {
        "name": name,
        "type": " or ".join(kind) if isinstance(kind, list) else kind,
        "required": "required" if required or about.get("required") else "optional",
        "help": about.get("description", ""),
    }


def _schema(parameter: Parameter) -> dict[str, Any]:
    if parameter.type is Json:  # any value
        return {"description": parameter.about.help}
    one: dict[str, Any] = {"type": {int: "integer", bool: "boolean"}.get(parameter.type, "string")}
    if parameter.choices:
        one["enum"] = list(parameter.choices)
    schema: dict[str, Any] = {"type": "array", "items": one} if parameter.many else dict(one)
    if parameter.optional:
        schema["type"] = [schema["type"], "null"]
        if parameter.choices and not parameter.many:
            schema["enum"] = [*parameter.choices, None]
    if not parameter.required and _is_json(parameter.default):
        schema["default"] = _plain(parameter.default)
    note = {
        BlobOrPath: " (an id from PUT /api/v1/blob, or an absolute path with the node's token)",
        InputPath: " (an absolute path, with the node's token)",
        FolderUrl: " (an absolute path or file:///PATH, with the node's token)",
    }.get(parameter.type, "")
    schema["description"] = parameter.about.help + note
    return schema


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _is_json(value: Any) -> bool:
    return value is None or isinstance(value, str | int | bool) or value == ()
