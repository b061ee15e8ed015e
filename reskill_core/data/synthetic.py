"""Random episodes of the right shapes, where a benchmark or a test needs data but not their meaning."""

from __future__ import annotations

import numpy as np

from reskill_core.data.episode import Episode
from reskill_core.data.schema import DatasetSpec
from reskill_core.spec import ObsSpec, TaskSpec, frame_term, zeros_term


def synthetic_spec(observation_dim: int = 25, sim_state_dim: int = 6) -> DatasetSpec:
    """A specification with an observation of at least 3 numbers."""
    terms = (frame_term("gripper_position", "position", "gripper"), zeros_term("padding", observation_dim - 3))
    return DatasetSpec(TaskSpec("synthetic", ObsSpec(("gripper",), (), terms)), "exact", sim_state_dim)


def synthetic_episodes(
    spec: DatasetSpec, count: int, first_seed: int = 0, min_steps: int = 40, max_steps: int = 60
) -> list[Episode]:
    """Episodes with the seeds from ``first_seed`` on; the same seed gives the same episode."""
    return [_episode(spec, seed, min_steps, max_steps) for seed in range(first_seed, first_seed + count)]


def _episode(spec: DatasetSpec, seed: int, min_steps: int, max_steps: int) -> Episode:
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(min_steps, max_steps, endpoint=True))
    action = rng.uniform(-0.9, 0.9, (steps, spec.task.action.dim)).astype(np.float32)
    success = bool(rng.random() < 0.5)
    return Episode(
        observation=rng.normal(size=(steps, spec.task.obs.dim)).astype(np.float32),
        action=action,
        executed_action=action + np.float32(0.05) * rng.choice(np.array([-1, 1], np.float32), action.shape),
        reward=rng.normal(size=steps).astype(np.float32),
        sim_state=rng.normal(size=(steps, spec.sim_state_dim)),
        final_observation=rng.normal(size=spec.task.obs.dim).astype(np.float32),
        seed=seed,
        success=success,
        terminated=success,
        truncated=not success,
        noise_scale=float(np.float32(rng.uniform(0, 0.2))),
        source=str(rng.choice(["pick_and_place", "push"])),
    )
