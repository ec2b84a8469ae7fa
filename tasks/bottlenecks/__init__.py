"""The rules that detect bottlenecks, and where each is concentrated."""
