"""Skill runtime by exported graphs, for skill models without a runtime of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array
from reskill_core.models.skill_document import graph_weights, unpacked_graphs
from reskill_core.runtime.graph import Graph
from reskill_core.runtime.skill_runtime import Weights
from reskill_core.spec import TaskSpec
from reskill_core.spec.observations import VECTOR, images_of

_PRIOR = "prior"


class GraphSkills:
    """Skill runtime by the graphs of :func:`~reskill_core.models.graph_export.export_graphs`.

    See :class:`~reskill_core.runtime.skill_runtime.SkillRuntime`.
    """

    def __init__(
        self,
        config: Any,
        task: TaskSpec,
        weights: Weights,
        normaliser: Mapping[str, Any],
        batch_invariant: bool,
    ) -> None:
        self._batch_invariant = batch_invariant
        graphs = {name: Graph(content) for name, content in unpacked_graphs(weights).items()}
        self._features, self._begin, self._act = (graphs[name] for name in ("features", "begin", "act"))
        self._prior = graphs.get(_PRIOR)
        nothing = task.obs.observation(np.zeros((1, task.obs.dim), np.float32), images_of(task.obs.zeros(1)))
        latent = np.zeros((1, config.latent_dim), np.float32)
        self.state_dim = self.begin(self.features(nothing), latent).shape[-1]

    @property
    def maps_noise(self) -> bool:
        """See :class:`~reskill_core.runtime.skill_runtime.SkillRuntime`."""
        return self._prior is not None

    def features(self, observations: Any) -> Float32Array:
        """See :class:`~reskill_core.runtime.skill_runtime.SkillRuntime`."""
        parts = observations if isinstance(observations, Mapping) else {VECTOR: observations}
        (features,) = self._run(self._features, parts)
        return features[:, None] if self._batch_invariant else features

    def begin(self, features: Float32Array, latents: Float32Array) -> Float32Array:
        """See :class:`~reskill_core.runtime.skill_runtime.SkillRuntime`."""
        return self._run(self._begin, {"features": features, "latent": latents})[0]

    def act(self, features: Float32Array, states: Float32Array) -> tuple[Float32Array, Float32Array]:
        """See :class:`~reskill_core.runtime.skill_runtime.SkillRuntime`."""
        action, following = self._run(self._act, {"features": features, "state": states})
        return action, following

    def noise_to_latent(self, noise: Float32Array, features: Float32Array) -> Float32Array:
        """See :class:`~reskill_core.runtime.skill_runtime.SkillRuntime`."""
        assert self._prior is not None
        return self._run(self._prior, {"noise": noise, "features": features})[0]

    @staticmethod
    def acting_weights(weights: Weights) -> dict[str, NDArray[Any]]:
        """Select the graphs."""
        return graph_weights(weights)

    def _run(self, graph: Graph, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        # Batch-invariant features have an additional axis, see SkillRuntime.
        given = {name: inputs[name] for name in graph.inputs}
        if "features" in given:
            given["features"] = given["features"].reshape(len(given["features"]), -1)
        rows = len(next(iter(given.values())))
        if rows == 1 or not self._batch_invariant:
            return graph.run(given)
        # Row by row, because the order of summation may depend on the batch size.
        single = [graph.run({name: array[row : row + 1] for name, array in given.items()}) for row in range(rows)]
        return [np.concatenate(parts) for parts in zip(*single, strict=True)]
