"""Layer 3: adapters to sockets, disk, processes and clocks; no adapter imports another."""
