"""Vega-Lite charts, their SVG and their alt texts."""
