"""Intervals and the check of a random split: pure, and nothing of the other tasks."""
