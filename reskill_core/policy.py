"""Policies: the one way to act, for training, evaluation, the nodes, replay and pictures alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from reskill_core.environment import Places
from reskill_core.runtime.skill_action import SkillAction


class Policy(Protocol):
    """Whatever answers observations: skills, an agent, a demonstrator, a baseline.

    It acts for episodes in places from 0 to N - 1, each by itself: what it does in an episode depends on the episode's
    seed and observations alone, neither on its place nor on the others.
    """

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> None:
        """Start episodes.

        Args:
            seeds: one for each place.
            places: where; None starts episodes in as many places as there are seeds, and fixes their number N.

        Raises:
            SpecError: seeds and places differ in number, or a place is out of range.
        """

    def act(self, observations: Any, places: Places | None = None) -> SkillAction:
        """Decide one control step.

        Args:
            observations: one for each place, in the layout of the task.
            places: where, each at most once; everywhere by default. Episodes in other places stand still.

        Raises:
            SpecError: the observations have another shape.
        """
