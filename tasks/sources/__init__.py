"""One adapter for each system that selections are pulled from."""
