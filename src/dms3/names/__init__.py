"""Who a dm3 name is, and who vouches for it: cards, ENS, first-come names of the overlay.

Source: docs/architecture.md; dm3 specification (DM3MTP).
"""
