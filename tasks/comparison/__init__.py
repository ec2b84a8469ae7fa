"""Compare one period with another: trends, volume, usage, spend drivers."""
