"""Conversation storage: encrypted chunks in any place that keeps bytes by name, shared by devices.

Source: docs/architecture.md, "Conversation storage"; dm3 specification (DM3MSP).
"""
