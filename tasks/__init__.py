"""The verbs: pure functions over frames, values and the clock, and at a module's end the task that does the I/O."""
