"""Notices about new messages by e-mail and push: asked for by clients, not sent by this service.

Source: dm3 reference, packages/delivery-service/src/notifications.ts, whose words are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dms3.api.dm3_answers import Answer, Asked, authorised, name_in, plain, said
from dms3.node.delivering import Delivering

CHANNELS = ("EMAIL", "PUSH")


async def answer_notices(service: Delivering, asked: Asked) -> Answer:
    """That there are none."""
    is_global = asked.parts[1:2] == ("global",)
    receiver = await authorised(service, asked, name_in(asked, 3 if is_global else 2))
    if isinstance(receiver, Answer):
        return receiver
    return said({"isEnabled": False} if is_global else {"notificationChannels": []})


async def change_notices(service: Delivering, asked: Asked) -> Answer:
    """Nothing is sent by e-mail or push; what is wrong is said in the words of the reference."""
    receiver = await authorised(service, asked, asked.parts[-1])
    if isinstance(receiver, Answer):
        return receiver
    body = await asked.json()
    if not isinstance(body, dict):
        return plain(400)
    if asked.parts[1:2] == ("global",):
        if not isinstance(body.get("isEnabled"), bool):
            return said({"error": "Invalid value"}, 400)
        if body["isEnabled"]:
            return said({"error": "This service sends no notifications"}, 400)
        return Answer(200, b"OK")
    channel = body.get("notificationChannelType")
    if asked.method == "DELETE":
        channel = asked.parts[2] if len(asked.parts) > 2 else None
    problem = _channel_problem(channel, body) if len(asked.parts) == 2 else _kind_problem(channel)
    return said({"error": problem or "Global notifications is off"}, 400)


def _kind_problem(channel: Any) -> str:
    if not channel:
        return "Notification Channel Type is missing"
    return "" if channel in CHANNELS else "Invalid notification channel type"


def _channel_problem(channel: Any, body: Mapping[str, Any]) -> str:
    problem = _kind_problem(channel)
    value = body.get("recipientValue")
    if problem or not value:
        return problem or "Recipient value is missing"
    fits = isinstance(value, str) and (
        "@" in value if channel == "EMAIL" else '"endpoint"' in value
    )
    return "" if fits else f"Invalid {channel.lower()} value"
