"""Delivery protocols: HTTP with signed webhooks, and SMTP."""
