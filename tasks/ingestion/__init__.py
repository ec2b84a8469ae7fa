"""Selections from files, sources and the router client: validated, imputed, stored."""
