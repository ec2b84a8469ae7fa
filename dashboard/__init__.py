"""The live page: what the router does right now, and the HTTP interface beside it."""
