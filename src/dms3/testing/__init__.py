"""What tests of dapps import: in-process nodes on simulated time."""
