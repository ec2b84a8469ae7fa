"""A simulated router that obeys the config table."""
