"""Identified responses of arms: coefficients that are known, what is still to come, and torch beside numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reskill_core.estimation.config import EstimatorConfig
from reskill_core.estimation.network import EstimatorNetwork
from reskill_core.models.io import state_arrays
from reskill_core.runtime.estimator import CORRECTION_SCALE, MEAN, SCALE, Estimator
from reskill_core.runtime.response import Response, response_weights
from reskill_core.spec import TaskSpec
from reskill_sim.families import get_task

TAPS, STEPS = 5, 40
TASK: TaskSpec = get_task("block").spec
MOVED = TASK.obs.slice("gripper_displacement")
# A quarter of a step late, with overshoot; slow; two steps late.
LATE, SLOW, LATER = [0.4, 0.3, -0.1, 0.0, 0.0], [0.1, 0.05, 0.0, 0.0, 0.0], [0.0, 0.0, 0.65, 0.0, 0.0]


def moving(coefficients: list[list[float]], still: int = 0, stuck: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Observations (N, T, O) and last actions (N, T, K · A) of arms with these responses, under random actions.

    Actions are zero in the last steps, and arms stand from one step on.
    """
    rng, count, dim = np.random.default_rng(0), len(coefficients), TASK.action.dim
    actions = rng.uniform(-1, 1, (count, STEPS, dim)).astype(np.float32)
    actions[:, STEPS - still :] = 0.0
    full = np.array(TASK.action.scale[:3]) * TASK.control_period_s
    last = np.zeros((count, STEPS + 1, TAPS, dim), np.float32)
    observations = np.zeros((count, STEPS + 1, TASK.obs.dim), np.float32)
    for step in range(STEPS):
        last[:, step + 1] = np.concatenate([actions[:, step, None], last[:, step, :-1]], axis=1)
        motion = np.einsum("nk,nka->na", coefficients, last[:, step + 1, :, :3])
        observations[:, step + 1, MOVED] = motion * full * (step < stuck)
    return observations, last.reshape(count, STEPS + 1, -1)


def response() -> Response:
    return Response(response_weights(TASK, TAPS))


def test_known_responses_are_found_within_ten_steps() -> None:
    wanted = [LATE, SLOW, LATER]
    features = response().features(*moving(wanted))
    np.testing.assert_allclose(features[:, 10, 6:], wanted, atol=0.03)
    np.testing.assert_allclose(features[:, -1, 6:], wanted, atol=0.01)
    # Before anything has moved, an arm that follows at once.
    np.testing.assert_allclose(features[:, 0], np.tile([0.0] * 6 + [0.6, 0, 0, 0, 0], (3, 1)), atol=1e-6)


@pytest.mark.parametrize("coefficients", [LATE, SLOW, LATER])
def test_what_is_to_come_comes(coefficients: list[float]) -> None:
    """The sum of all motion once no more is commanded, and that of the next step."""
    still = 6
    observations, actions = moving([coefficients], still)
    full = np.array(TASK.action.scale[:3]) * TASK.control_period_s
    features, motion = response().features(observations, actions), observations[0, :, MOVED] / full
    now = STEPS - still
    np.testing.assert_allclose(features[0, now, :3], motion[now + 1 :].sum(axis=0), atol=0.02)
    np.testing.assert_allclose(features[0, now, 3:6], motion[now + 1], atol=0.02)


def test_nothing_is_to_come_of_an_arm_that_stands() -> None:
    """As where something is in its way: found within a few steps, though it has moved before."""
    features = response().features(*moving([LATE, LATER], stuck=20))
    assert np.abs(features[:, 20, :3]).max() > 0.3
    assert np.abs(features[:, -5:, :3]).max() < 0.1


def test_torch_follows_as_numpy_does_and_places_do_not_disturb_each_other() -> None:
    weights = response_weights(TASK, TAPS)
    one, other = Response(weights), Response(weights, torch.from_numpy, torch.cat)
    observations, actions = moving([LATE, SLOW])
    state, tensors = np.zeros((2, one.state_size), np.float32), torch.zeros(2, one.state_size)
    for step in range(STEPS + 1):
        alone = one.follow(state[1:], observations[1:, step], actions[1:, step])
        state, features = one.follow(state, observations[:, step], actions[:, step])
        for array, row in zip((state, features), alone, strict=True):
            np.testing.assert_array_equal(array[1:], row)
        inputs = (torch.from_numpy(array[:, step]) for array in (observations, actions))
        tensors, of_torch = other.follow(tensors, *inputs)
        np.testing.assert_allclose(of_torch, features, atol=1e-4)


def test_an_estimator_gets_the_features_that_its_network_learnt_with() -> None:
    """From the start of an episode, and again after a reset."""
    torch.manual_seed(0)
    weights, dim = response_weights(TASK, TAPS), TASK.obs.dim
    config = EstimatorConfig(hidden=8, actions=TAPS)
    network = EstimatorNetwork(config, dim, TASK.action.dim, Response(weights).feature_size)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    rng = np.random.default_rng(1)
    norm = {name: rng.uniform(0.01, 0.1, dim).astype(np.float32) for name in (MEAN, SCALE, CORRECTION_SCALE)}
    observations, actions = moving([LATE, SLOW])
    inputs = [(observations - norm[MEAN]) / norm[SCALE], actions, Response(weights).features(observations, actions)]
    with torch.no_grad():
        corrections, _ = network(torch.from_numpy(np.concatenate(inputs, axis=2)))
    expected = observations + corrections.numpy() * norm[CORRECTION_SCALE]
    estimator, both = Estimator({**state_arrays(network), **norm, **weights}), np.arange(2)
    assert estimator.actions_dim == TAPS * TASK.action.dim
    estimator.start(2)
    for _ in range(2):
        for step in range(STEPS):
            np.testing.assert_allclose(estimator.estimate(observations[:, step], both), expected[:, step], atol=1e-4)
            estimator.remember(actions[:, step + 1, : TASK.action.dim], both)
        estimator.reset(both)


def test_a_task_without_an_end_effector_has_no_response() -> None:
    assert response_weights(get_task("maze").spec, TAPS) == {}
    nothing = Response({})
    state, features = nothing.follow(np.zeros((2, 0)), np.ones((2, 3)), np.ones((2, 4)))
    assert state.shape == features.shape == (2, 0)
    assert nothing.names == ()
