"""How a report gets to a recipient, one module a channel."""
