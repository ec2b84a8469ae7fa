"""What a reader sees: every format, made from the report document alone."""
