"""Layer 5: the command line, generated from the table of commands."""
