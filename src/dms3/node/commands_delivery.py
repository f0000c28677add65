"""Commands about delivery services: running one, and the rules a person sets at theirs.

Source: docs/interfaces.md, "Command line"; docs/delivery.md. Cheap to import: what they do is in
`node/delivering.py`.
"""

from __future__ import annotations

from typing import Annotated, Any

from dms3.core.errors import Dms3Error
from dms3.node.services import NodeServices
from dms3.node.table import Result, command


@command("delivery", "status", example="dms3 delivery status")
async def delivery_status(node: NodeServices) -> Result:
    """What this node does as a delivery service: where it answers, what waits, what was refused."""
    return Result(await node.delivery.status())


@command("delivery", "rules", example="dms3 delivery rules --nonce 5")
async def delivery_rules(
    node: NodeServices,
    nonce: Annotated[int | None, "transactions a sender's account must have sent"] = None,
    balance: Annotated[str | None, "wei it must have"] = None,
    token: Annotated[str | None, "address of an ERC-20 contract"] = None,
    amount: Annotated[str | None, "units of that token it must have"] = None,
) -> Result:
    """What strangers need so that your services take their messages; shows, and sets.

    0 takes a rule away. The services that carry for you ask Ethereum about each sender.
    """
    given: dict[str, Any] = {"minNonce": nonce, "minBalance": balance}
    if (token is None) != (amount is None):
        raise Dms3Error("argument_invalid", "--token and --amount belong together.")
    if token is not None:
        given["minTokenBalance"] = {"address": token, "amount": amount}
    return Result(await node.delivery_rules(given))


COMMANDS = (delivery_status, delivery_rules)
