"""Data models: tables, settings, periods and result objects. They import no other package but routewatch."""
