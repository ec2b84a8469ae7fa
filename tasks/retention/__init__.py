"""Expired rows: archived as Parquet, then deleted."""
