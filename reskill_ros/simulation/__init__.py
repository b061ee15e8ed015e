"""Simulated robot with the topics of a real one."""
