"""Kitchen data of other programs: D4RL's files and Minari's."""

from reskill_sim.kitchen.importing.conversion import import_data

__all__ = ["import_data"]
