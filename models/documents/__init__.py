"""The report documents, one module for each template."""
