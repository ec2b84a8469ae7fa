"""Whether everything that Routewatch needs is there and works, one module a subject."""
