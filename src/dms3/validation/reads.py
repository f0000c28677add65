"""What reads, put together: records, links, activity.

Source: docs/architecture.md, "The machine". Decides nothing.
"""

from __future__ import annotations

from dms3.core.ids import RequestId
from dms3.validation.finding import Finding
from dms3.validation.following import Following
from dms3.validation.linking import Linking
from dms3.validation.reading import Readers


class Reads:
    """Reads under way, on what `readers` have in common."""

    def __init__(self, readers: Readers) -> None:
        self.finding = Finding(readers)
        self.linking = Linking(readers)
        self.following = Following(readers)

    @property
    def open(self) -> int:
        """How many are not answered yet."""
        return self.finding.open + self.linking.open + self.following.open

    def withdrawn(self, request: RequestId) -> None:
        """Nobody waits for the answer to `request`."""
        for part in (self.finding, self.linking, self.following):
            part.withdrawn(request)
