"""Interface and registry of learning algorithms for one level of an agent; other packages add entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array
from reskill_core.plugins import Registry
from reskill_core.rl.actor import Actor, Decision
from reskill_core.rl.transitions import SkillTransition


class Algorithm(Actor, Protocol):
    """Learning algorithm of one level, which chooses skills or corrects their actions.

    The registry contains classes of this interface. They are constructed with keywords:

    - ``inputs``: length I of the policy's inputs, which begin with the features;
    - ``features``: length F of the features;
    - ``decisions``: length D of a decision;
    - ``config``: an instance of its ``Config``;
    - ``seed``: seed of the run, the only source of randomness;
    - ``level``: ``high_level`` or ``low_level``, for separate random streams;
    - ``limit``: decisions are limited to [-limit, limit] when they are executed;
    - ``skills``: the skill module whose features it sees; None without skills;
    - ``privileged``: length P of what only critics see; not given unless the agent has privileged critics, which needs
      ``PRIVILEGED``.

    Attributes:
        Config: configuration class, a subclass of :class:`~reskill_core.rl.config.AlgorithmConfig`.
        OFF_POLICY: whether it learns from the transitions of earlier policies, too. If all levels do, environments are
            simulated during :meth:`update`, and :meth:`actor` acts there.
        PRIVILEGED: whether its critics can use the privileged inputs of transitions.
        TAKES_OVER: whether it can begin with the weights in a checkpoint; :meth:`take_over` is only called if it can.
    """

    Config: ClassVar[type[Any]]
    OFF_POLICY: ClassVar[bool] = False
    PRIVILEGED: ClassVar[bool] = False
    TAKES_OVER: ClassVar[bool] = False

    @classmethod
    def actor_from(cls, weights: Mapping[str, NDArray[np.float32]], prefix: str) -> Actor:
        """Load the actor from the weights of a checkpoint, where the names of this level have this prefix.

        Raises:
            KeyError: a weight is missing.
        """

    def act(self, inputs: Float32Array, draws: Float32Array | None = None) -> Decision:
        """Act with the current policy; see :class:`~reskill_core.rl.actor.Actor`."""

    def actor(self) -> Actor:
        """Return a copy of the acting policy, which later updates do not change; only called if ``OFF_POLICY``."""

    def observe(self, transitions: SkillTransition) -> None:
        """Add transitions of its decisions, for the next :meth:`update`."""

    def update(self, progress: float) -> dict[str, float]:
        """Update the policy.

        Args:
            progress: progress of the training, in [0, 1].

        Returns:
            Metrics by name.

        Raises:
            TrainingError: a loss is not finite.
        """

    def imitate(self, inputs: Float32Array, decisions: Float32Array, updates: int) -> None:
        """Train the policy by imitation, before reinforcement learning.

        Args:
            inputs: (B, I) inputs.
            decisions: (B, D) demonstrated decisions.
            updates: number of gradient steps.
        """

    def take_over(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Begin with the :meth:`weights` of another run.

        Raises:
            CheckpointError: a weight is missing or has another shape.
        """

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the parameters by name, for a checkpoint."""

    def state(self) -> dict[str, Any]:
        """Return all other state that the next update depends on: optimisers, random streams, stored transitions."""

    def restore(self, weights: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Restore saved :meth:`weights` and :meth:`state`.

        Raises:
            CheckpointError: a weight is missing or has another shape.
        """


ALGORITHMS = Registry(
    "reskill.algorithms", "algorithm", {"ppo": "reskill_core.rl.ppo:Ppo", "sac": "reskill_core.rl.sac:Sac"}
)
