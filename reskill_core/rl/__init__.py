"""Reinforcement learning on top of skills: the two-level agent, its experience and its updates."""
