"""What is asked of the world outside the overlay: Ethereum nodes and web servers; types only.

Source: docs/names.md. `io/ethereum.py` and `io/web.py` are the ports, put together in
`node/outside.py`. The calls, each answered by a Failure where it cannot be done:

| call | arguments | answer |
|---|---|---|
| `ethereum.name` | LookUpName | NameOnChain |
| `ethereum.reverse` | an address | the name that its owner has set for it, "" for none |
| `ethereum.nonce` | an address | how many transactions the account has sent |
| `ethereum.balance` | an address | Wei of the account |
| `ethereum.token_balance` | TokenBalance | units of an ERC-20 token of the account |
| `web.fetch` | FetchUrl | bytes |

An address is text with 0x and 40 hex digits. Failures: `not_found` (no such name), `timed_out` and
`peer_unreachable` (whoever was asked did not answer, or this node asks no Ethereum node: the text
says which), `content_unavailable` (a web server has nothing there), `content_invalid` (what is
there is wrong), `peer_refused` (an address inside this network), `peer_misbehaved`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LookUpName:
    """The address behind `name` (normalised) and its text records under the keys `texts`."""

    name: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NameOnChain:
    """`address` with checksum, "" when the name has none; `texts` as asked, "" for each absent."""

    address: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenBalance:
    """How much of the ERC-20 contract `token` does `address` have?"""

    token: str
    address: str


@dataclass(frozen=True, slots=True)
class FetchUrl:
    """The body at `url`, http or https, at most `bytes_max`. No redirect is followed."""

    url: str
    bytes_max: int
