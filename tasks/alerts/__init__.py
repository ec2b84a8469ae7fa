"""Windows, limits, lifecycle, grouping, silences and notifications."""
