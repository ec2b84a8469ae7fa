"""The optimization report: what waits, what was changed, and what came of it."""
