"""The ``reskill`` command: one file for each verb."""
