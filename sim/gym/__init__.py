"""Gymnasium environments of the tasks."""
