"""OpenTelemetry: OTLP decoding, spans, traces and the semantic conventions."""
