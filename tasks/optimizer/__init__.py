"""Recommend, apply, verify and decide; the router's config with its audit trail."""
