"""Numbers, labels and sentences."""
