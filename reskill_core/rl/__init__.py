"""Reinforcement learning on top of skills: rollouts and updates of the two-level agent."""
