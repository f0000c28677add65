"""Layer 1: the libp2p wire stack, sans-I/O and usable without the rest of dms3."""
