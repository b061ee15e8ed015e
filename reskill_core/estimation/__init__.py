"""State estimation in front of an agent: from late and noisy observations to those that its next action will meet."""
