"""Learning algorithms of one level of an agent, by name; other packages add theirs by entry points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from reskill_core.plugins import Registry
from reskill_core.rl.actor import Actor, Decision
from reskill_core.rl.transitions import SkillTransition

FloatArray = NDArray[np.float32]


class Algorithm(Actor, Protocol):
    """Learns what to decide at one level: which skill to choose, or how to correct its actions.

    A class of this kind stands in the registry. It is made with keywords:

    - ``inputs``: entries I of what decides sees, the features first;
    - ``features``: entries F of features;
    - ``decisions``: entries D of a decision;
    - ``config``: an instance of its ``Config``;
    - ``seed``: of the run, from which all that is random here follows;
    - ``level``: ``high_level`` or ``low_level``, for streams of random numbers of their own.

    Attributes:
        Config: its settings, a subclass of :class:`~reskill_core.rl.config.AlgorithmConfig`.
    """

    Config: ClassVar[type[Any]]

    @classmethod
    def actor_from(cls, weights: Mapping[str, NDArray[np.float32]], prefix: str) -> Actor:
        """What is deployed, from the weights of a checkpoint; those of this level have names with this prefix.

        Raises:
            KeyError: one is missing.
        """

    def act(self, inputs: FloatArray, draws: FloatArray | None = None) -> Decision:
        """See :class:`~reskill_core.rl.actor.Actor`; as it is now, until the next :meth:`update`."""

    def observe(self, transitions: SkillTransition) -> None:
        """Take what its decisions led to, for the next :meth:`update`."""

    def update(self, progress: float) -> dict[str, float]:
        """Learn.

        Args:
            progress: share of the training that is over, in [0, 1].

        Returns:
            Metrics by name.

        Raises:
            TrainingError: what it computes is not finite.
        """

    def imitate(self, inputs: FloatArray, decisions: FloatArray, updates: int) -> None:
        """Learn to decide as demonstrated, before it learns from rewards.

        Args:
            inputs: (B, I).
            decisions: (B, D).
            updates: number of gradient steps.
        """

    def weights(self) -> dict[str, NDArray[Any]]:
        """Parameters by name, as a checkpoint keeps them."""

    def state(self) -> dict[str, Any]:
        """Everything else that the next update depends on: optimisers, random streams, stored transitions."""

    def restore(self, weights: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`weights` and :meth:`state`.

        Raises:
            CheckpointError: a weight is missing or has another shape.
        """


ALGORITHMS = Registry("reskill.algorithms", "algorithm", {"ppo": "reskill_core.rl.ppo:Ppo"})
