"""Generators of docs/commands.md, docs/configuration.md and docs/schemas."""
