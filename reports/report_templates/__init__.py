"""The report templates: one package describes each, and every format goes by the description."""
