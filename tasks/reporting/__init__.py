"""From a report request to a stored report: collect, compose, publish."""
