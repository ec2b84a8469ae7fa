"""The performance report: how the router did."""
