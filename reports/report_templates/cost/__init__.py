"""The cost report: what was spent, on what, and against which budget."""
