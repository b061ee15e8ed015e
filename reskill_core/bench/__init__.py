"""Measurements of the parts, as functions that return numbers."""
