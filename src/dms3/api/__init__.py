"""Layer 5: HTTP, generated from the table of commands."""
