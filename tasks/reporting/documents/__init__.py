"""The documents of the report templates, one module each, which builds it from the material."""
