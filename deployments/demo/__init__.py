"""The demo on the simulated router."""
