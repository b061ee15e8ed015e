"""A skill module for the simulator's tasks that has learnt nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reskill_core.checkpoint import save_checkpoint
from reskill_core.models.config import ReskillModelConfig
from reskill_core.models.io import module_contents
from reskill_core.models.skill_vae import SkillVae
from reskill_core.rl.config import Schedule
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_sim.engine.simulator import Simulator
from reskill_sim.fetch.tasks import get_task

HORIZON = 7
ENVS = 6
AT_ONCE = Schedule("linear", 0, 1)


@pytest.fixture(scope="module", name="skills")
def untrained_skills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained skill module whose skills do not fit into episodes a whole number of times."""
    task = get_task("block")
    observations = Simulator(task, 200, "fast").observation().astype(np.float32)
    observations += np.random.default_rng(0).normal(0.0, 0.1, observations.shape).astype(np.float32)
    torch.manual_seed(0)
    model = SkillVae.fitted(ReskillModelConfig(horizon=HORIZON, decoder_hidden=(32,)), task.spec, observations)
    folder = tmp_path_factory.mktemp("skills") / "one"
    return save_checkpoint(folder, SKILL_MODULE_KIND, *module_contents(model, task.spec))
