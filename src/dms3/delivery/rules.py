"""Spam rules that a receiver sets: what a sender's account on Ethereum must have.

Source: dm3 reference, lib/delivery/src/spam-filter (`minNonce`, `minBalance`, `minTokenBalance`);
docs/dm3.md, "Delivery service". Says what has to be asked and judges the answer; asks nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import MAIL_RULE_DIGITS_MAX
from dms3.dm3.canonical import members
from dms3.dm3.keys import ProfileKeys

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_DIGITS = re.compile(rf"[0-9]{{1,{MAIL_RULE_DIGITS_MAX}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """One number to ask of Ethereum, and how large it must be.

    `operation`: "nonce" (transactions sent), "balance" (wei) or "token_balance" (units of the
    ERC-20 contract `token`). `least`: the smallest number that passes.
    """

    operation: str
    least: int
    token: str = ""

    def judge(self, number: int) -> None:
        """Raise `forbidden` when `number` is too small."""
        if number < self.least:
            what = {"nonce": "sent transactions", "balance": "wei"}.get(self.operation)
            raise Dms3Error(
                "forbidden",
                f"The receiver asks senders for at least {self.least} "
                f"{what or f'of token {self.token}'}; this sender has {number}.",
            )


@dataclass(frozen=True, slots=True)
class SpamRules:
    """What a receiver asks of senders; None: nothing of that kind. All have to be met."""

    min_nonce: int | None = None
    min_balance: int | None = None
    token: str | None = None
    token_amount: int | None = None

    def value(self) -> dict[str, Any]:
        """The rules as the reference keeps them in an account: JSON values."""
        value: dict[str, Any] = {}
        if self.min_nonce is not None:
            value["minNonce"] = self.min_nonce
        if self.min_balance is not None:
            value["minBalance"] = str(self.min_balance)
        if self.token is not None:
            value["minTokenBalance"] = {"address": self.token, "amount": str(self.token_amount)}
        return value

    def asked(self) -> tuple[Asked, ...]:
        """What has to be asked about a sender; () without rules."""
        found = []
        if self.min_nonce:
            found.append(Asked("nonce", self.min_nonce))
        if self.min_balance:
            found.append(Asked("balance", self.min_balance))
        if self.token and self.token_amount:
            found.append(Asked("token_balance", self.token_amount, self.token))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class RulesAt:
    """Arguments of "courier.rules": the rules of `name` at the service `url`, others when given.

    `keys`: those of the profile of `name`, to log in with. The answer is the SpamRules kept there.
    """

    url: str
    name: str
    keys: ProfileKeys = field(repr=False)
    rules: SpamRules | None = None


def decode_rules(value: Any) -> SpamRules:
    """The rules in a JSON object as `SpamRules.value` writes it; raises DecodeError."""
    given = members(value, (), ("minNonce", "minBalance", "minTokenBalance"))
    token = amount = None
    if given.get("minTokenBalance") is not None:
        pair = members(given["minTokenBalance"], ("address", "amount"))
        token, amount = pair["address"], _number(pair["amount"])
        if type(token) is not str or not _ADDRESS.fullmatch(token):
            raise DecodeError(0, "address: expected 0x and 40 hex digits")
    return SpamRules(
        None if given.get("minNonce") is None else _number(given["minNonce"]),
        None if given.get("minBalance") is None else _number(given["minBalance"]),
        token,
        amount,
    )


def _number(value: Any) -> int:
    """A whole number that is not negative, as a number or as decimal digits."""
    text = str(value) if type(value) is int else value
    if type(text) is not str or not _DIGITS.fullmatch(text):
        raise DecodeError(0, "expected a whole number that is not negative")
    return int(text)
