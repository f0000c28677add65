"""Scenarios that `dms3 sim run` knows, by name."""
