"""The rules of a dm3 delivery service: what it takes, for whom, how long, and what it says.

Source: docs/architecture.md; dm3 specification (DM3MTP).
"""
