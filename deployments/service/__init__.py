"""`routewatch serve`: supervisor, processes, scheduler and page server."""
