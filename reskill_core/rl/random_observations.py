"""What chance sees in an environment: observations to normalise by where nothing was demonstrated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reskill_core.environment import RestorableVectorEnv
from reskill_core.seeding import first_episode, run_rng
from reskill_core.spec.observations import vector_of


def random_observations(environments: RestorableVectorEnv, seed: int) -> NDArray[np.float32]:
    """Vectors (T * N, O) of an episode's length of actions uniform in [-1, 1], in N environments.

    Args:
        environments: left somewhere within episodes; to be reset before they are used.
        seed: of the run.
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
