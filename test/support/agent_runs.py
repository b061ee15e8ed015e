"""Small training runs of agents that move points, judged by returns that a test gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from point_mass import Ending, PointMass
from skill_fixtures import TASK, random_model, save_module, small_config

from reskill_core.rl.config import AgentConfig, AgentTrainingConfig, PpoConfig, Schedule
from reskill_core.runtime import SkillModule, SkillPolicy
from reskill_core.training.agent_trainer import AgentTrainer
from reskill_core.training.evaluated_run import EvaluatedResult

ENVS, STEPS = 8, 12
ITERATION = ENVS * STEPS
# Neither level learns anything to speak of.
FROZEN = PpoConfig(hidden=(8,), learning_rate=1e-9, epochs=1, minibatch=1000, std=0.2, min_std=0.05)
AGENT = AgentConfig(
    skill_steps=None, schedule=Schedule("linear", 0, 4 * ITERATION), high_level=FROZEN, low_level=FROZEN
)


@pytest.fixture(scope="module", name="module")
def still_module(tmp_path_factory: pytest.TempPathFactory) -> SkillModule:
    """Skills that stand still: what moves is the residual."""
    model = random_model(small_config())
    with torch.no_grad():
        for name in ("decoder.linear.2.weight", "decoder.linear.2.bias"):
            model.get_parameter(name).mul_(0)
    return SkillModule.load(save_module(tmp_path_factory.mktemp("skills") / "module", model), batch_invariant=False)


@pytest.fixture(autouse=True, name="no_plots")
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take most of the time of a small run."""
    monkeypatch.setattr("reskill_core.training.evaluated_run.plot_returns", lambda path, rows: None)


def config(out: Path, **changes: Any) -> AgentTrainingConfig:
    values = AgentTrainingConfig(
        task=TASK.name,
        skills="skills",
        out=str(out),
        steps=4 * ITERATION,
        num_envs=ENVS,
        rollout_steps=STEPS,
        threads=1,
        evaluate_every=ITERATION,
        keep_checkpoints=10,
        agent=AGENT,
    )
    return replace(values, **changes)


class Judge:
    """Gives returns in turn, and keeps what it has judged."""

    def __init__(self, returns: Iterator[float]) -> None:
        self.policies: list[SkillPolicy] = []
        self._returns = returns

    def __call__(self, policy: SkillPolicy) -> dict[str, float]:
        self.policies.append(policy)
        return {"return": next(self._returns), "success": 0.5}


def train(
    module: SkillModule,
    given: AgentTrainingConfig,
    returns: tuple[float, ...] = (1, 2, 3, 4),
    environments: PointMass | None = None,
) -> tuple[EvaluatedResult, Judge]:
    judge = Judge(iter(returns))
    points = environments or PointMass(ENVS, lambda seed: Ending(STEPS))
    return AgentTrainer(given, [points], TASK, module, judge).run(show_progress=False), judge
