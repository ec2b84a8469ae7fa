"""Schedules, missed reports and crashed runs."""
