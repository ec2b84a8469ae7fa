"""From selections to rollups, exactly once: update, query, rebuild, reconcile, backfill."""
