"""The protocols that deliveries go out by: HTTP with signed webhooks, and SMTP."""
