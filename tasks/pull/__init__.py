"""Sources of selections, one module each."""
