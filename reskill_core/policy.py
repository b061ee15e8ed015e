"""Interface of policies, for training, evaluation, nodes, replay and rendering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from reskill_core.environment import Places
from reskill_core.runtime.skill_action import SkillAction


class Policy(Protocol):
    """Policy: skills, an agent, a demonstrator or a baseline.

    It acts for N parallel episodes in places (indices) from 0 to N - 1. Its actions in an episode depend only on the
    episode's seed and observations, not on the place or on other episodes.
    """

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> None:
        """Start episodes.

        Args:
            seeds: one seed per place.
            places: indices of episodes; None starts one episode per seed, and sets N to their number.

        Raises:
            SpecError: seeds and places differ in number, or a place is out of range.
        """

    def act(self, observations: Any, places: Places | None = None) -> SkillAction:
        """Choose the actions of one control step.

        Args:
            observations: one per place, in the layout of the task.
            places: indices of episodes, without duplicates; all by default. The others are not stepped.

        Raises:
            SpecError: the observations have another shape.
        """
