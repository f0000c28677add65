"""Own source chains: written, published, restored; agents' questions and countersigning."""
