"""Flows: one short flow per schedule that reads like the process."""
