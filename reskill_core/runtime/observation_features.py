"""Features of observations for an agent without skills."""

from __future__ import annotations

from typing import Any

import numpy as np

from reskill_core.arrays import Float32Array
from reskill_core.checkpoint import Checkpoint
from reskill_core.errors import SpecError
from reskill_core.models.feature_columns import Columns, plain_columns
from reskill_core.models.features import FeatureMap
from reskill_core.spec import TaskSpec
from reskill_core.spec.observations import vector_of


class ObservationFeatures:
    """Replacement of the skill module in an agent without skills: normalised features, without a decoder.

    Args:
        task: task of the observations.
        feature_map: map from observations to features.
        batch_invariant: see :class:`~reskill_core.runtime.skill_module.SkillModule`.
    """

    checkpoint: Checkpoint | None = None
    latent_dim, state_dim, horizon = 0, 0, 1

    def __init__(self, task: TaskSpec, feature_map: FeatureMap, batch_invariant: bool = True) -> None:
        self.task_spec, self.feature_map, self.batch_invariant = task, feature_map, batch_invariant

    @property
    def feature_columns(self) -> Columns:
        """See :attr:`~reskill_core.runtime.skill_module.SkillModule.feature_columns`."""
        return plain_columns(self.feature_map.dim)

    def features(self, observations: Any) -> Float32Array:
        """Compute normalised features (N, F) of the vectors of observations; (N, 1, F) if batch-invariant.

        Raises:
            SpecError: the shape is wrong.
        """
        rows = np.asarray(vector_of(observations), dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.feature_map.obs_dim:
            raise SpecError(f"observations has shape {rows.shape}, expected (N, {self.feature_map.obs_dim})")
        return self.feature_map(rows[:, None] if self.batch_invariant else rows)
