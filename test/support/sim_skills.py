"""An untrained skill module for a simulated task: it moves the robot about, which is all that the graph needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from skill_fixtures import save_module

from reskill_core.models.config import SkillModelConfig
from reskill_core.models.features import FeatureMap
from reskill_core.models.skill_vae import SkillVae
from reskill_sim.simulator import Simulator
from reskill_sim.tasks import get_task


def save_untrained_skills(folder: Path, task_name: str = "block") -> Path:
    """Write a checkpoint with random weights."""
    task = get_task(task_name)
    torch.manual_seed(0)
    config = SkillModelConfig()
    starts = Simulator(task, num_envs=32).observation()
    noise = 0.05 * np.random.default_rng(0).normal(size=starts.shape)
    features = FeatureMap.fit(config.features, task.spec.obs, (starts + noise).astype(np.float32))
    return save_module(folder, SkillVae(config, features, task.spec.action.dim), task.spec)
