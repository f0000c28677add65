"""Layer 2: framed protocols between nodes and what is known of peers."""
