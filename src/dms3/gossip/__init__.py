"""Gossip: bodies that every node of an overlay hears once."""
