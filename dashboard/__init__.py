"""The live page of the router's current state, and the HTTP API."""
