"""Langfuse: the adapter and its HTTP client."""
