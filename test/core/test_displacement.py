"""Displaced windows: where joints seem to be, which labels lead back, and who learns from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from reskill_core.errors import ConfigError
from reskill_core.models.registry import skill_model_kind
from reskill_core.models.skill_model import SkillModel
from reskill_core.spec import JOINT_VELOCITY, ActionComponent, ActionSpec, ObsSpec, TaskSpec, joint_term, named_term
from reskill_core.training.config import DisplacementConfig, OptimiserConfig
from reskill_core.training.displacement import Displacement
from reskill_core.training.skill_learner import SkillLearner

HORIZON = 6
PERIOD_S = 0.1
# The second joint is observed first.
ARM = TaskSpec(
    "arm",
    ObsSpec(
        frames=(),
        joints=("one", "two", "idle"),
        terms=(
            named_term("load", 1, "kg"),
            joint_term("position", "joint_position", ("two", "one"), "rad"),
            joint_term("idle_position", "joint_position", ("idle",), "rad"),
        ),
    ),
    ActionSpec(
        tuple(
            ActionComponent(name, JOINT_VELOCITY, "rad/s", scale, low)
            for name, scale, low in (("one", 2.0, -1.0), ("two", 0.5, -0.25))
        )
    ),
    control_period_s=PERIOD_S,
)
CONFIG = DisplacementConfig(terms=("position",), std=0.02, gain=0.25)


def windows(count: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(count, HORIZON, 4, generator=rng), 0.2 * torch.rand(count, HORIZON, 2, generator=rng)


def displaced(config: DisplacementConfig = CONFIG, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """By how much windows and labels change."""
    observation, action = windows()
    found = Displacement(config, ARM).displaced(observation, action, torch.Generator().manual_seed(seed))
    assert isinstance(found[0], torch.Tensor)
    return found[0] - observation, found[1] - action


def test_labels_bring_joints_back_to_the_demonstration() -> None:
    """Whoever acts by the labels from a displaced position sees exactly the displaced window, and comes ever closer."""
    moved, correction = displaced()
    velocity = correction.flip(-1) * torch.tensor([0.5, 2.0])
    reached = moved[:, :-1, 1:3] + velocity[:, :-1] * PERIOD_S
    torch.testing.assert_close(reached, moved[:, 1:, 1:3], atol=1e-6, rtol=0)
    torch.testing.assert_close(moved[:, 1:, 1:3], 0.75 * moved[:, :-1, 1:3], atol=1e-6, rtol=0)
    assert (moved[..., 0] == 0).all()
    assert (moved[..., 3] == 0).all()


def test_displacements_are_as_large_as_configured() -> None:
    """The standard deviation of a window is uniform up to the largest: the mean square is a third of its square."""
    observation, action = windows(20_000)
    seen, _ = Displacement(CONFIG, ARM).displaced(observation, action, torch.Generator().manual_seed(0))
    assert isinstance(seen, torch.Tensor)
    start = (seen - observation)[:, 0, 1:3]
    assert start.square().mean().sqrt() == pytest.approx(0.02 / 3**0.5, rel=0.03)
    assert np.corrcoef(start.abs().T.numpy())[0, 1] > 0.1


def test_windows_are_as_given_and_labels_within_limits() -> None:
    observation, action = windows()
    kept = observation.clone(), action.clone()
    far = replace(CONFIG, std=10.0)
    _, labels = Displacement(far, ARM).displaced(observation, action, torch.Generator().manual_seed(1))
    torch.testing.assert_close((observation, action), kept, atol=0, rtol=0)
    assert labels[..., 0].min() == -1.0
    assert labels[..., 1].min() == -0.25
    assert labels.max() == 1.0


def test_every_window_is_displaced_by_itself_and_by_the_stream() -> None:
    moved, _ = displaced()
    assert len(torch.unique(moved[:, 0, 1])) == len(moved)
    torch.testing.assert_close(displaced()[0], moved, atol=0, rtol=0)
    assert not torch.equal(displaced(seed=2)[0], moved)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("load", "load is no term of joint positions; those of task 'arm' are position, idle_position"),
        ("idle_position", "the velocity of idle is no action of task 'arm'"),
    ],
)
def test_what_no_label_leads_back_from_is_refused(term: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Displacement(replace(CONFIG, terms=(term,)), ARM)


@pytest.mark.parametrize("kind", ["reskill", "spirl", "flat"])
def test_decoders_learn_from_displaced_windows_and_the_others_do_not(kind: str) -> None:
    def terms(config: DisplacementConfig | None) -> dict[str, float]:
        displacement = Displacement(config, ARM) if config else None
        still = OptimiserConfig(learning_rate=1e-9, prior_learning_rate=1e-9)
        learner = SkillLearner(model_of(kind), still, 0.1, seed=0, displacement=displacement)
        steps = 1 if kind == "flat" else HORIZON
        observation, action = (part[:, :steps] for part in windows())
        return learner.update(observation.numpy(), action.numpy(), rate=1.0)

    plain, moved = terms(None), terms(replace(CONFIG, std=0.5))
    assert moved["reconstruction"] != pytest.approx(plain["reconstruction"], rel=1e-2)
    assert moved["kl"] == plain["kl"]
    # What decides in a flat model is its prior.
    assert (moved["prior_nll"] == plain["prior_nll"]) == (kind != "flat")


def model_of(name: str) -> SkillModel:
    kind = skill_model_kind({"kind": name})
    sizes: dict[str, Any] = {} if name == "flat" else {"horizon": HORIZON, "latent_dim": 3}
    torch.manual_seed(0)
    vectors = windows()[0].flatten(0, 1).numpy()
    return kind.load_model().fitted(kind.config(**sizes), ARM, vectors)
