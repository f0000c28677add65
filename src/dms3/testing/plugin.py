"""The pytest plugin that dapp authors get with dms3 installed."""
