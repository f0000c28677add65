"""Every error a person or program can meet, and the one table that maps it to HTTP and exit status.

Source: docs/architecture.md, "Errors". This module does not log, print or translate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar, cast

E = TypeVar("E", bound=BaseException)


class Blame(StrEnum):
    """Who has to change something before the same request can succeed."""

    CALLER = "caller"
    PEER = "peer"
    CONTENT = "content"
    ENVIRONMENT = "environment"


class Retry(StrEnum):
    """Whether asking again can help."""

    NEVER = "never"
    LATER = "later"
    OTHER_PEER = "other_peer"


class Exit(StrEnum):
    """Meaning of a command's exit status; the number is in `EXIT_STATUS`."""

    FAILED = "failed"
    USAGE = "usage"
    UNREACHABLE = "unreachable"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"


EXIT_STATUS = {
    Exit.FAILED: 1,
    Exit.USAGE: 2,
    Exit.UNREACHABLE: 3,
    Exit.REJECTED: 4,
    Exit.TIMED_OUT: 5,
}


@dataclass(frozen=True, slots=True)
class CodeRow:
    """One line of the table: who is to blame by default, HTTP status, exit meaning, retry."""

    blame: Blame
    http: int
    exit: Exit = Exit.FAILED
    retry: Retry = Retry.NEVER


# code -> what it means to an HTTP client and to a shell. Codes are part of the API: never renamed.
CODES: dict[str, CodeRow] = {
    "argument_invalid": CodeRow(Blame.CALLER, 400, Exit.USAGE),
    "config_invalid": CodeRow(Blame.CALLER, 400, Exit.USAGE),
    "not_found": CodeRow(Blame.CALLER, 404),
    "already_exists": CodeRow(Blame.CALLER, 409),
    "unauthorized": CodeRow(Blame.CALLER, 401),
    "forbidden": CodeRow(Blame.CALLER, 403),
    "origin_refused": CodeRow(Blame.CALLER, 403),
    "method_unknown": CodeRow(Blame.CALLER, 404, Exit.USAGE),
    "body_too_large": CodeRow(Blame.CALLER, 413),
    "body_malformed": CodeRow(Blame.CALLER, 400, Exit.USAGE),
    "range_invalid": CodeRow(Blame.CALLER, 416),
    "format_unavailable": CodeRow(Blame.CALLER, 406),
    "body_slow": CodeRow(Blame.CALLER, 408, Exit.TIMED_OUT, Retry.LATER),
    "passphrase_wrong": CodeRow(Blame.CALLER, 403),
    "node_locked": CodeRow(Blame.CALLER, 423),
    "node_unreachable": CodeRow(Blame.ENVIRONMENT, 503, Exit.UNREACHABLE, Retry.LATER),
    "node_busy": CodeRow(Blame.ENVIRONMENT, 503, retry=Retry.LATER),
    "node_stopping": CodeRow(Blame.ENVIRONMENT, 503, retry=Retry.LATER),
    "home_in_use": CodeRow(Blame.ENVIRONMENT, 409),
    "home_newer": CodeRow(Blame.ENVIRONMENT, 500),
    "home_unusable": CodeRow(Blame.ENVIRONMENT, 500),
    "port_in_use": CodeRow(Blame.ENVIRONMENT, 500),
    "disk_full": CodeRow(Blame.ENVIRONMENT, 507, retry=Retry.LATER),
    "store_corrupt": CodeRow(Blame.ENVIRONMENT, 500),
    "limit_reached": CodeRow(Blame.CALLER, 429, retry=Retry.LATER),
    "grant_missing": CodeRow(Blame.CALLER, 403),
    "grant_invalid": CodeRow(Blame.PEER, 403, Exit.REJECTED),
    "grant_expired": CodeRow(Blame.CALLER, 403),
    "not_yet_valid": CodeRow(Blame.PEER, 403, retry=Retry.LATER),
    "certificate_invalid": CodeRow(Blame.PEER, 403, Exit.REJECTED),
    "certificate_expired": CodeRow(Blame.PEER, 403, retry=Retry.LATER),
    "question_expired": CodeRow(Blame.PEER, 403, retry=Retry.LATER),
    "not_admitted": CodeRow(Blame.CALLER, 403, Exit.REJECTED),
    "contact_unknown": CodeRow(Blame.PEER, 403, retry=Retry.LATER),
    "words_invalid": CodeRow(Blame.CALLER, 400, Exit.REJECTED),
    "card_invalid": CodeRow(Blame.CALLER, 400, Exit.REJECTED),
    "card_expired": CodeRow(Blame.CALLER, 400, Exit.REJECTED),
    "content_invalid": CodeRow(Blame.CONTENT, 422, Exit.REJECTED),
    "agent_blocked": CodeRow(Blame.PEER, 403, Exit.REJECTED),
    "chain_moved": CodeRow(Blame.CALLER, 409, retry=Retry.LATER),
    "chain_locked": CodeRow(Blame.CALLER, 409, retry=Retry.LATER),
    "chain_closed": CodeRow(Blame.CALLER, 409),
    "chain_restoring": CodeRow(Blame.ENVIRONMENT, 423, retry=Retry.LATER),
    "rules_invalid": CodeRow(Blame.CONTENT, 422, Exit.REJECTED),
    "function_failed": CodeRow(Blame.CONTENT, 422, Exit.REJECTED),
    "function_stopped": CodeRow(Blame.CONTENT, 422, Exit.REJECTED),
    "not_ready": CodeRow(Blame.ENVIRONMENT, 503, retry=Retry.LATER),
    "runner_missing": CodeRow(Blame.ENVIRONMENT, 500),
    "content_unavailable": CodeRow(Blame.ENVIRONMENT, 404, retry=Retry.LATER),
    "decode_failed": CodeRow(Blame.CONTENT, 422, Exit.REJECTED),
    "peer_unreachable": CodeRow(Blame.PEER, 502, retry=Retry.LATER),
    "peer_refused": CodeRow(Blame.PEER, 502, retry=Retry.OTHER_PEER),
    "peer_misbehaved": CodeRow(Blame.PEER, 502, retry=Retry.OTHER_PEER),
    "network_mismatch": CodeRow(Blame.PEER, 502),
    "protocol_unsupported": CodeRow(Blame.PEER, 502),
    "timed_out": CodeRow(Blame.ENVIRONMENT, 504, Exit.TIMED_OUT, Retry.LATER),
    "cancelled": CodeRow(Blame.CALLER, 499),
    "internal": CodeRow(Blame.ENVIRONMENT, 500),
}


class Dms3Error(Exception):
    """An expected failure: what happened with which value, and what to do next.

    Arguments: `code`, a key of `CODES`; `message`, one sentence with the value in it; `hint`, the
    next step ("" where there is none); `about`, JSON values for programs (which rule refused what).
    Blame, retry, HTTP and exit status come from the table.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        retry: Retry | None = None,
        blame: Blame | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        assert code in CODES, f"error code {code!r} is not in the table"
        super().__init__(message)
        row = CODES[code]
        self.code = code
        self.message = message
        self.hint = hint
        self.about = about
        self.retry = retry or row.retry
        self.blame = blame or row.blame

    @property
    def http_status(self) -> int:
        """The HTTP status of this error (RFC 9457 problem+json)."""
        return CODES[self.code].http

    @property
    def exit_status(self) -> int:
        """The exit status of a command that ends with this error."""
        return EXIT_STATUS[CODES[self.code].exit]

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class DecodeError(Dms3Error):
    """Bytes that are not what they claim to be; the only error a decoder raises.

    Arguments: `offset`, in bytes from the start of the input; `reason`, what was expected there.
    """

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__("decode_failed", f"byte {offset}: {reason}")
        self.offset = offset
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a value: what an answer carries instead of a body, in process and on the wire."""

    code: str
    message: str
    retry: Retry = Retry.NEVER

    def error(self) -> Dms3Error:
        """The exception of this failure; an unknown code (a newer peer) becomes `peer_refused`."""
        code = self.code if self.code in CODES else "peer_refused"
        return Dms3Error(code, self.message, retry=self.retry)

    @classmethod
    def of(cls, error: Dms3Error) -> Failure:
        """The failure that carries `error` to whoever asked."""
        return cls(error.code, str(error), error.retry)


def first_error(group: BaseExceptionGroup[E]) -> E:
    """The first plain error in a group of groups: what the caller of a task group is told."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return cast("E", error)
