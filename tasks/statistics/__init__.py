"""Intervals, confidence sequences and checks of a random split: pure functions without imports from other tasks."""
