"""A simulated router and the receivers of its reports, which `routewatch demo` runs on."""
