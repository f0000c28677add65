"""The table of all commands of a node, in the order in which help lists them.

Source: docs/interfaces.md, "Command line". Cheap to import: the command line reads it for help.
"""

from __future__ import annotations

from dms3.node import (
    commands_chain,
    commands_dapp,
    commands_delivery,
    commands_entry,
    commands_message,
    commands_name,
    commands_network,
    commands_people,
    commands_storage,
    commands_store,
    commands_system,
    commands_warrant,
)
from dms3.node.table import Table

TABLE = Table(
    (
        commands_system.status,
        commands_system.doctor,
        commands_system.id_show,
        *commands_people.COMMANDS,
        *commands_store.COMMANDS,
        *commands_message.COMMANDS,
        *commands_storage.COMMANDS,
        *commands_name.COMMANDS,
        *commands_delivery.COMMANDS,
        *commands_dapp.COMMANDS,
        *commands_entry.COMMANDS,
        *commands_chain.COMMANDS,
        *commands_warrant.COMMANDS,
        *commands_network.COMMANDS,
    )
)
