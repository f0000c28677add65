"""Layer 5: the page of a node, made from the table of commands."""
