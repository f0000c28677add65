"""Layer 4: the composition root, the driver and the table of commands."""
