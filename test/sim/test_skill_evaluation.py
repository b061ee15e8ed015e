"""Measures of skill modules: spread by hand, samples of any prior, and what is told of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skill_fixtures import block_episode

from reskill_core.checkpoint import save_checkpoint
from reskill_core.data import Episode
from reskill_core.intervals import Estimate, estimates
from reskill_core.models.io import module_contents
from reskill_core.models.spirl.config import SpirlConfig, SpirlPriorConfig
from reskill_core.models.spirl.model import SpirlModel
from reskill_core.runtime import SkillModule
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_sim.evaluation.reconstruction import ReconstructionOutcome
from reskill_sim.evaluation.rollouts import RolloutOutcome, policy_of
from reskill_sim.evaluation.skills import SkillEvaluation
from reskill_sim.evaluation.spread import Spread
from reskill_sim.fetch.tasks import get_task

SPEC = get_task("block").spec


def at(*heights: float) -> Episode:
    """An episode in which one entry of the observation varies."""
    return block_episode(SPEC, [[0.0, 0.0, height] for height in heights], [0.0, 0.0, 0.0])


def test_spread_by_hand() -> None:
    spread = Spread()
    for heights in ((-1.0, 1.0, -1.0, 1.0), (-1.0, 1.0)):
        spread.add("wide", at(*heights))
    for _ in range(2):
        spread.add("still", at(0.5, 0.5, 0.5))
    # Of all twelve visited heights the mean is 1/4 and the mean square (6 + 6 / 4) / 12.
    unit = np.sqrt(7.5 / 12 - 0.25**2)
    found = spread.estimates()
    assert found["wide"].mean == pytest.approx(1.0 / unit)
    assert found["still"].mean == 0.0
    assert found["wide"].low == pytest.approx(1.0 / unit)
    assert found["wide"].count == 2


def test_latents_of_a_mixture_are_its_own_whatever_the_other_places(tmp_path: Path) -> None:
    config = SpirlConfig(latent_dim=2, prior=SpirlPriorConfig(kind="mixture", components=2, hidden=(4,)))
    torch.manual_seed(0)
    vectors = np.random.default_rng(0).normal(size=(50, SPEC.obs.dim)).astype(np.float32)
    model = SpirlModel.fitted(config, SPEC, vectors)
    with torch.no_grad():  # Two components far from each other, of weights 1/2.
        last = model.prior.members[0].get_parameter("net.linear.1.bias")
        last.copy_(torch.tensor([0.0, 0.0, -5.0, -5.0, 5.0, 5.0, 0.0, 0.0, 0.0, 0.0]))
    module = SkillModule.load(save_checkpoint(tmp_path / "s", SKILL_MODULE_KIND, *module_contents(model, SPEC)))
    policy = policy_of("prior", module, 40)
    policy.reset(range(40))
    latent = policy.act(vectors[:40]).latent
    share = (latent[:, 0] > 0).mean()
    assert 0.2 < share < 0.8
    assert np.all(np.abs(np.abs(latent) - 5.0) < 4.5)
    alone = policy_of("prior", module, 1)
    alone.reset([7])
    np.testing.assert_allclose(alone.act(vectors[7:8]).latent[0], latent[7], rtol=1e-5)


def test_numbers_are_told_with_their_intervals() -> None:
    rows = [{"subtasks": 2.0, "kettle": True}, {"subtasks": 4.0, "kettle": False}]
    found = estimates(rows)
    assert list(found) == ["kettle", "subtasks"]
    assert (found["subtasks"].mean, found["kettle"].mean) == (3.0, 0.5)
    evaluation = SkillEvaluation(
        "kitchen",
        {"prior": [RolloutOutcome(n, False, row, row["subtasks"]) for n, row in enumerate(rows)]},
        [ReconstructionOutcome(n, "chain", 0.5, row, {**row, "subtasks": 4.0}) for n, row in enumerate(rows)],
        best_of_samples={"prior": Estimate(0.01, 0.005, 0.015, 256)},
        spread={"prior": Estimate(0.9, 0.8, 1.0, 2)},
    )
    summary, told = evaluation.summary(), "\n".join(evaluation.table())
    assert {name: value["mean"] for name, value in summary["rollouts"]["prior"].items()} == {
        "kettle": 0.5,
        "success": 0.0,
        "subtasks": 3.0,
        "return": 3.0,
        "spread": 0.9,
    }
    again = summary["metrics_of_reconstruction"]
    assert (again["reconstructed"]["subtasks"]["mean"], again["demonstrated"]["subtasks"]["mean"]) == (3.0, 4.0)
    assert "  subtasks        4.000 [4.000,4.000] demonstrated, 3.000 [" in told
    assert "0.0100 [0.0050, 0.0150]" in told
    assert replace(evaluation, reconstructions=[]).summary()["metrics_of_reconstruction"] == {}
