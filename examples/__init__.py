"""A simulated router and the receivers of its reports: what `routewatch demo` runs on."""
