"""One adapter for each system from which selections are pulled."""
