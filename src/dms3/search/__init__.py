"""Layer 2: spaces, kinds, containers, queries and sharing."""
