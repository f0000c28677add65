"""Layer 0: identifiers, codec, errors, the machine contract and the limits."""
