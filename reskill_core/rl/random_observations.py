"""Observations under random actions, for normalisation without demonstrations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reskill_core.environment import RestorableVectorEnv
from reskill_core.seeding import first_episode, run_rng
from reskill_core.spec.observations import vector_of


def random_observations(environments: RestorableVectorEnv, seed: int) -> NDArray[np.float32]:
    """Collect vectors (T * N, O) of observations in N environments, under uniform actions in [-1, 1].

    T is the length of an episode.

    Args:
        environments: the environments; they have to be reset before further use.
        seed: seed of the run.
    """
    count, rng = environments.num_envs, run_rng(seed, "features")
    seeds = first_episode(seed, "training") + np.arange(count)
    seen = [vector_of(environments.reset(seeds.tolist()))]
    for _ in range(environments.spec.horizon - 1):
        actions = rng.uniform(-1.0, 1.0, (count, environments.spec.action.dim)).astype(np.float32)
        result = environments.step(actions)
        observation = result.observation
        if result.done.any():
            rows = np.flatnonzero(result.done)
            observation = environments.reset(seeds[rows].tolist(), rows.tolist())
        seen.append(vector_of(observation).copy())
    return np.concatenate(seen).astype(np.float32)
