"""Aggregate selections into rollups, exactly once: update, query, rebuild, reconcile, backfill."""
