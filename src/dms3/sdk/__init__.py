"""What programs import to talk to a node: `from dms3.sdk import Client`."""

from dms3.sdk.blocking import SyncClient
from dms3.sdk.client import Client

__all__ = ["Client", "SyncClient"]
