"""dms3: a node you run yourself that keeps, searches and shares what you own."""

__version__ = "0.1.0"
