"""One period against another: trends, volume, usage, what drove the spend."""
