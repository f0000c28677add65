"""What programs outside the node import: a client of its API."""
