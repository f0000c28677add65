"""What an open node does for its fronts, by noun; each raises while the node is locked.

Source: docs/architecture.md, "Commands". `node/host.py` opens and closes the node; the classes
named here do the work. Decides nothing.
"""

from __future__ import annotations

import abc
from typing import Any

from dms3.core.errors import Dms3Error
from dms3.node import chain_answers, dapps_answers, dapps_entries, networks_answers
from dms3.node.delivering import Delivering
from dms3.node.delivery_accounts import rules_in
from dms3.node.documents import Documents
from dms3.node.gateway import Gateway, gateway_of
from dms3.node.messages import Messages
from dms3.node.name_answers import NameAnswers
from dms3.node.node import Node
from dms3.node.people import People
from dms3.node.sender_rules import sender_rules
from dms3.node.storage_answers import StorageAnswers
from dms3.node.warrant_answers import WarrantAnswers


class Opened(abc.ABC):
    """The services of a node, as `NodeServices` of node/services.py names them."""

    @abc.abstractmethod
    def _running(self) -> Node:
        """The open node; raises `node_locked` or `node_busy`."""

    @abc.abstractmethod
    def _has_role(self, role: str) -> bool:
        """Whether the node was started with `role`."""

    @property
    def people(self) -> People:
        """The person, contacts and peers."""
        return People(self._running())

    @property
    def documents(self) -> Documents:
        """Spaces and documents."""
        return Documents(self._running())

    @property
    def messages(self) -> Messages:
        """Messages with people."""
        return Messages(self._running())

    @property
    def names(self) -> NameAnswers:
        """Who names are, and the person's own."""
        return NameAnswers(self._running())

    @abc.abstractmethod
    def _api_port(self) -> int:
        """The port of the private listener."""

    @property
    def dapps(self) -> dapps_answers.DappAnswers:
        """Apps."""
        return dapps_answers.DappAnswers(self._running(), self._api_port())

    @property
    def entries(self) -> dapps_entries.EntryAnswers:
        """What apps wrote."""
        return dapps_entries.EntryAnswers(self._running())

    @property
    def chains(self) -> chain_answers.ChainAnswers:
        """The person's chains."""
        return chain_answers.ChainAnswers(self._running())

    @property
    def warrants(self) -> WarrantAnswers:
        """Agents that were convicted."""
        return WarrantAnswers(self._running())

    @property
    def networks(self) -> networks_answers.NetworkAnswers:
        """Networks of people."""
        return networks_answers.NetworkAnswers(self._running())

    @property
    def storing(self) -> StorageAnswers:
        """Where messages are kept."""
        return StorageAnswers(self._running())

    @property
    def delivery(self) -> Delivering:
        """The delivery service."""
        service = self._running().delivery
        if service is not None:
            return service
        if self._has_role("delivery"):
            raise Dms3Error("node_busy", "The delivery service is starting.", hint="Ask again.")
        raise Dms3Error(
            "not_found",
            "This node is no delivery service.",
            hint="Start it with --role delivery --public HOST:PORT.",
        )

    @property
    def gateway(self) -> Gateway:
        """Public spaces for the routes of the role `gateway`."""
        return gateway_of(self._running())

    async def delivery_rules(self, given: dict[str, Any]) -> dict[str, Any]:
        """The rules for senders at the person's delivery services, after `given` ones were set."""
        return await sender_rules(self._running(), rules_in(given))
