"""Small tasks, models and data sets for the tests of skill modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from reskill_core.checkpoint import save_checkpoint
from reskill_core.data import DatasetSpec, DatasetWriter, Episode
from reskill_core.models.config import FeatureConfig, PriorConfig, ReskillModelConfig
from reskill_core.models.io import module_contents
from reskill_core.models.skill_model import SkillModel
from reskill_core.models.skill_vae import SkillVae
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.spec import ObsSpec, TaskSpec, frame_term, joint_term
from reskill_core.training.config import SkillTrainingConfig

TASK = TaskSpec(
    name="reach",
    obs=ObsSpec(
        frames=("gripper", "goal"),
        joints=("finger",),
        terms=(
            frame_term("gripper_position", "position", "gripper"),
            joint_term("finger_position", "joint_position", ("finger",)),
            frame_term("gripper_displacement", "displacement", "gripper"),
            frame_term("goal_position", "position", "goal"),
        ),
    ),
    horizon=30,
)
FEATURES = FeatureConfig(relative=(("goal_position", "gripper_position"),))


def small_config(prior: str = "flow", **changes: object) -> ReskillModelConfig:
    """A model that trains in milliseconds."""
    sizes = {"horizon": 4, "latent_dim": 3, "decoder_hidden": (24, 16), "features": FEATURES}
    small_prior = PriorConfig(kind=prior, hidden=(12, 10), couplings=3, coupling_hidden=8)  # type: ignore[arg-type]
    return ReskillModelConfig(**{**sizes, "prior": small_prior, **changes})  # type: ignore[arg-type]


def observations(count: int, seed: int = 0) -> np.ndarray:
    """(count, O) observations around the workspace."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, TASK.obs.dim)) * 0.1 + 0.8).astype(np.float32)


def random_model(config: ReskillModelConfig, seed: int = 0) -> SkillVae:
    """A model none of whose layers is at its neutral start, batch statistics included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SkillVae.fitted(config, TASK, observations(500))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model.eval()


def save_module(folder: Path, model: SkillModel, task: TaskSpec = TASK) -> Path:
    """Write a model as a skill-module checkpoint."""
    return save_checkpoint(folder, SKILL_MODULE_KIND, *module_contents(model, task))


def write_reaching_data(folder: Path, episodes: int = 40, steps: int = 12, first_seed: int = 0) -> Path:
    """Demonstrations of moving straight to a goal: learnable, and quick to learn."""
    rng = np.random.default_rng(0)
    spec = DatasetSpec(TASK, "exact", 0)
    DatasetWriter(folder, spec).add_shard(
        [_reach(rng, seed, steps) for seed in range(first_seed, first_seed + episodes)]
    )
    return folder


def _reach(rng: np.random.Generator, seed: int, steps: int) -> Episode:
    gripper, goal = rng.uniform(0.5, 1.0, (2, 3))
    previous = gripper
    rows, actions = [], []
    for _ in range(steps):
        rows.append(np.concatenate([gripper, [0.05], gripper - previous, goal]))
        actions.append(np.append(np.clip(10 * (goal - gripper), -1, 1), 0.5))
        previous, gripper = gripper, gripper + 0.03 * actions[-1][:3]
    action = np.array(actions, np.float32)
    observation = np.array(rows, np.float32)
    return Episode(
        observation=observation,
        action=action,
        executed_action=action,
        reward=np.zeros(steps, np.float32),
        sim_state=np.zeros((steps, 0)),
        final_observation=observation[-1],
        seed=seed,
        success=True,
        terminated=True,
        truncated=False,
        noise_scale=0.0,
        source="reach",
    )


def training_config(data: Path, out: Path, **changes: object) -> SkillTrainingConfig:
    """A run of a second."""
    settings = {
        "data": str(data),
        "out": str(out),
        "batch_size": 32,
        "steps": 40,
        "log_every": 5,
        "validate_every": 10,
        "validation_fraction": 0.2,
        "threads": 1,
        "model": small_config(),
    }
    return SkillTrainingConfig(**{**settings, **changes})  # type: ignore[arg-type]


def block_episode(
    spec: TaskSpec, block: list[list[float]], goal: list[float], seed: int = 3, success: bool = False
) -> Episode:
    """An episode in which the block is where it is said to be."""
    rows = np.zeros((len(block), spec.obs.dim), np.float32)
    rows[:, spec.obs.slice("block_position")] = block
    rows[:, spec.obs.slice("goal_position")] = goal
    steps = len(block) - 1
    action = np.zeros((steps, 4), np.float32)
    return Episode(
        observation=rows[:-1],
        action=action,
        executed_action=action,
        reward=np.zeros(steps, np.float32),
        sim_state=np.zeros((steps, 0)),
        final_observation=rows[-1],
        seed=seed,
        success=success,
        terminated=success,
        truncated=not success,
        noise_scale=0.0,
        source="",
    )
