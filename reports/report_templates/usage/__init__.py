"""The usage report: how much is asked, by whom and when, and what changed."""
