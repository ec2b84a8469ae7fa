"""Rules that detect bottlenecks, and their hotspots."""
