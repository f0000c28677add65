"""Layer 1: keys, sealing and signed grants; keys and nonces are arguments."""
