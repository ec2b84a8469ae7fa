"""The bundled font and the template engine."""
