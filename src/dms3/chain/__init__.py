"""Formats and pure rules of source chains: actions, entries, DNA, operations, receipts."""
