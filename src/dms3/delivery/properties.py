"""What a delivery service says of itself, in the words of the reference.

Source: dm3 reference, lib/delivery/src/Delivery.ts (`DeliveryServiceProperties`); dm3
specification, "getDeliveryServiceProperties". The specification counts `messageTTL` in days, at
least 30, the reference in milliseconds: a number of milliseconds that is 0 or at least 30 days is
right in both.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.limits import (
    MAIL_ACCOUNT_BYTES,
    MAIL_ENVELOPE_BYTES_MAX,
    MAIL_INTERVAL_SECONDS,
    MAIL_INTERVALS_SECONDS,
    MAIL_TOTAL_BYTES,
)
from dms3.dm3.canonical import canonical

DAY_MS = 24 * 3_600_000
DAYS_MIN = 30  # dm3 specification: a service keeps messages for at least so long


@dataclass(frozen=True, slots=True)
class Properties:
    """The settings of one service.

    `keep_days`: a message that nobody fetches is removed then, 0: never. `envelope_bytes`: the
    largest envelope, as canonical JSON. `account_bytes`: what may wait for one receiver.
    `total_bytes`: mail and lockers of all together.
    """

    keep_days: int = 0
    envelope_bytes: int = MAIL_ENVELOPE_BYTES_MAX
    account_bytes: int = MAIL_ACCOUNT_BYTES
    total_bytes: int = MAIL_TOTAL_BYTES

    def __post_init__(self) -> None:
        assert self.keep_days == 0 or self.keep_days >= DAYS_MIN, "0 or at least 30 days"

    @property
    def keep_ms(self) -> int:
        """How long a message is kept, in milliseconds; 0: until it is fetched."""
        return self.keep_days * DAY_MS

    def text(self) -> str:
        """The canonical JSON that `dm3_getDeliveryServiceProperties` answers."""
        return canonical(
            {
                "messageTTL": self.keep_ms,
                "metricsCollectionIntervalInSeconds": MAIL_INTERVAL_SECONDS,
                "metricsRetentionDurationInSeconds": MAIL_INTERVALS_SECONDS,
                "notificationChannel": [],
                "sizeLimit": self.envelope_bytes,
            }
        )
