"""The doctor: checks, their context and their runner."""
