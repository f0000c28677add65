"""A seeded world that runs the production machines and driver."""
