"""A person's messages: outbox, inbox, what is believed and what is shown (dm3 clients).

Source: docs/architecture.md, "Messages"; dm3 specification (DM3MTP).
"""
