"""A plug-in: a family, a skill model and a learner that come from outside the package."""
