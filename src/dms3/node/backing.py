"""Backups of a running node: what goes into one, and what is known of the last.

Source: docs/adr/0007-backups.md.
"""

from __future__ import annotations

from dms3.node.noting import LastBackup


class Backing:
    """Makes backups of one node."""

    def __init__(self) -> None:
        self.last: LastBackup | None = None
