"""Random episodes of valid shapes, for benchmarks and tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reskill_core.data.compressed_frames import CompressedFrames
from reskill_core.data.episode import Episode
from reskill_core.data.schema import DatasetSpec
from reskill_core.spec import ImageFeature, ObsSpec, TaskSpec, frame_term, zeros_term


def synthetic_spec(
    observation_dim: int = 25, sim_state_dim: int = 6, images: tuple[ImageFeature, ...] = ()
) -> DatasetSpec:
    """Create a specification with an observation of at least 3 numbers, and images."""
    terms = (frame_term("gripper_position", "position", "gripper"), zeros_term("padding", observation_dim - 3))
    return DatasetSpec(TaskSpec("synthetic", ObsSpec(("gripper",), (), terms, images)), "exact", sim_state_dim)


def synthetic_episodes(
    spec: DatasetSpec, count: int, first_seed: int = 0, min_steps: int = 40, max_steps: int = 60
) -> list[Episode]:
    """Create episodes with seeds from ``first_seed`` on; an episode is deterministic for its seed."""
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
        images={
            item.name: CompressedFrames.of(synthetic_frames(rng, steps + 1, item)) for item in spec.task.obs.images
        },
    )


def synthetic_frames(rng: np.random.Generator, count: int, feature: ImageFeature) -> NDArray[np.uint8]:
    """Create frames (n, H, W, C) of a square moving in front of a smooth background, with camera noise."""
    height, width, channels = feature.frame_shape
    rows, columns = np.mgrid[0:height, 0:width]
    background = 80.0 + 60.0 * rows / height + 40.0 * columns / width
    frames = np.repeat(np.repeat(background[None, ..., None], channels, axis=3), count, axis=0)
    size = max(height // 5, 1)
    top, left, speed = rng.uniform(0, 0.5, 3)
    for step, frame in enumerate(frames):
        row, column = int(top * height), int((left + speed * step / count) * width)
        frame[row : row + size, column : column + size] = 220.0
    noisy = frames + rng.normal(0.0, 1.0, frames.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)
