"""Features of observations for an agent that has no skills."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.checkpoint import Checkpoint
from reskill_core.errors import SpecError
from reskill_core.models.features import FeatureMap
from reskill_core.spec import TaskSpec
from reskill_core.spec.observations import vector_of

FloatArray = NDArray[np.float32]


class ObservationFeatures:
    """What stands in an agent without skills where its skill module would: normalised features, and nothing to decode.

    Args:
        task: whose observations they are of.
        feature_map: from observations to features.
        batch_invariant: see :class:`~reskill_core.runtime.skill_module.SkillModule`.
    """

    checkpoint: Checkpoint | None = None
    latent_dim, state_dim, horizon = 0, 0, 1

    def __init__(self, task: TaskSpec, feature_map: FeatureMap, batch_invariant: bool = True) -> None:
        self.task_spec, self.feature_map, self.batch_invariant = task, feature_map, batch_invariant

    def features(self, observations: Any) -> FloatArray:
        """Normalised features (N, F) of the vectors of observations; (N, 1, F) where rows must come out as if alone.

        Raises:
            SpecError: the shape is wrong.
        """
        rows = np.asarray(vector_of(observations), dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.feature_map.obs_dim:
            raise SpecError(f"observations has shape {rows.shape}, expected (N, {self.feature_map.obs_dim})")
        return self.feature_map(rows[:, None] if self.batch_invariant else rows)
