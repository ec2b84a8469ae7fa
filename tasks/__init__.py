"""The verbs: pure functions over frames, values and the clock, and at each module's end the Prefect task that does the I/O."""
