"""Intervals and the check of a random split: pure functions without imports from other tasks."""
