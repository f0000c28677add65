"""Every view: what a person reads after a command, a few sentences and rows instead of every field.

Source: docs/interfaces.md, "Command line". Each view turns the data of one command into lines
(`cli/lines.py`); `cli/output.py` prints them. The views of a noun lie in `cli/views_*.py`, as its
commands do in `node/commands_*.py`. Programs use `--json`, where nothing is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from dms3.cli.lines import View
from dms3.cli.views_chain import CHAIN_VIEWS
from dms3.cli.views_dapp import DAPP_VIEWS
from dms3.cli.views_local import LOCAL_VIEWS
from dms3.cli.views_message import MESSAGE_VIEWS
from dms3.cli.views_name import NAME_VIEWS
from dms3.cli.views_network import NETWORK_VIEWS
from dms3.cli.views_people import PEOPLE_VIEWS
from dms3.cli.views_store import STORE_VIEWS
from dms3.cli.views_system import SYSTEM_VIEWS
from dms3.cli.views_warrant import WARRANT_VIEWS

VIEWS: Mapping[str, View] = {
    **LOCAL_VIEWS,
    **SYSTEM_VIEWS,
    **PEOPLE_VIEWS,
    **STORE_VIEWS,
    **MESSAGE_VIEWS,
    **NAME_VIEWS,
    **DAPP_VIEWS,
    **CHAIN_VIEWS,
    **WARRANT_VIEWS,
    **NETWORK_VIEWS,
}
"""Command name -> its view; a command without one shows its fields."""
