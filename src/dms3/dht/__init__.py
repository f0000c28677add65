"""Overlays: who is in them, who is near what, and what is held for everybody."""
