"""Reports and messages on their way: queue, worker, payloads, dead letters, secrets."""
