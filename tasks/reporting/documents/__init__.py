"""The documents of the report templates, one module each: how it is composed of the material."""
