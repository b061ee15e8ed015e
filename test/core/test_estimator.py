"""State estimators: numpy beside torch, targets by hand, and places that do not disturb each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError
from reskill_core.estimation.config import EstimatorConfig, EstimatorTrainingConfig
from reskill_core.estimation.network import EstimatorNetwork, estimation_loss
from reskill_core.models.io import state_arrays
from reskill_core.runtime.estimator import CORRECTION_SCALE, MEAN, SCALE, Estimator
from reskill_core.runtime.shrinkage import Shrinkage, shrinkage_weights
from reskill_core.spec.layout import ObsSpec, zeros_term
from reskill_core.training.estimator_trainer import last_actions, targets_of

OBS, ACTION, PLACES, STEPS = 5, 2, 3, 6
SPEC = ObsSpec((), (), (zeros_term("one", 3), zeros_term("other", 2)))
ALL = np.arange(PLACES)


def random_network(seed: int = 0) -> EstimatorNetwork:
    torch.manual_seed(seed)
    network = EstimatorNetwork(EstimatorConfig(members=3, hidden=8, actions=2), OBS, ACTION)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network


def norm() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {name: rng.uniform(0.5, 2.0, OBS).astype(np.float32) for name in (MEAN, SCALE, CORRECTION_SCALE)}


def an_estimator(network: EstimatorNetwork | None = None, batch_invariant: bool = True) -> Estimator:
    weights = {**state_arrays(network or random_network()), **norm(), **shrinkage_weights(SPEC, 0.5)}
    estimator = Estimator(weights, batch_invariant)
    estimator.start(PLACES)
    return estimator


def sequence() -> tuple[np.ndarray, np.ndarray]:
    """Observations and actions of each step."""
    rng = np.random.default_rng(2)
    return rng.standard_normal((STEPS, PLACES, OBS)), rng.uniform(-1, 1, (STEPS, PLACES, ACTION)).astype(np.float32)


@pytest.mark.parametrize("batch_invariant", [True, False])
def test_it_estimates_as_the_network_that_was_trained(batch_invariant: bool) -> None:
    network, scales = random_network(), norm()
    estimator = an_estimator(network, batch_invariant)
    observations, actions = sequence()
    before = np.concatenate([np.zeros((1, PLACES, ACTION), np.float32), actions[:-1]])
    earlier = np.concatenate([np.zeros((1, PLACES, ACTION), np.float32), before[:-1]])
    inputs = np.concatenate([(observations - scales[MEAN]) / scales[SCALE], before, earlier], axis=2)
    rows = torch.from_numpy(inputs.astype(np.float32)).transpose(0, 1)
    with torch.no_grad():
        corrections = [member(rows)[0].transpose(0, 1).numpy() * scales[CORRECTION_SCALE] for member in network.members]
    combine = Shrinkage(shrinkage_weights(SPEC, 0.5))
    expected = observations + np.stack([combine(np.stack(of_step)) for of_step in zip(*corrections, strict=True)])
    for step in range(STEPS):
        np.testing.assert_allclose(estimator.estimate(observations[step], ALL), expected[step], atol=1e-5)
        estimator.remember(actions[step], ALL)
    assert np.abs(expected - observations).max() > 0.1


def test_a_new_network_changes_nothing() -> None:
    estimator = an_estimator(EstimatorNetwork(EstimatorConfig(hidden=8), OBS, ACTION))
    observations, _ = sequence()
    np.testing.assert_array_equal(estimator.estimate(observations[0], ALL), observations[0])


def test_places_do_not_disturb_each_other() -> None:
    """Alone, in another order, or after a reset of others: bit-equal."""
    observations, actions = sequence()
    together, alone = an_estimator(), an_estimator()
    for step in range(STEPS):
        if step == 2:
            together.reset(np.array([0]))
        if step == 3:
            # A fault in one place.
            observations[step, 2] = np.nan
        order = np.roll(ALL, step)
        found = together.estimate(observations[step][order], order)[np.argsort(order)]
        together.remember(actions[step][order], order)
        np.testing.assert_array_equal(found[1:2], alone.estimate(observations[step, 1:2], ALL[1:2]))
        alone.remember(actions[step, 1:2], ALL[1:2])


def test_it_recovers_from_an_observation_that_is_not_finite() -> None:
    observations, actions = sequence()
    faulty, spared = an_estimator(), an_estimator()
    for estimator in (faulty, spared):
        estimator.estimate(observations[0], ALL)
        estimator.remember(actions[0], ALL)
    broken = observations[1].copy()
    broken[0, 3] = np.inf
    assert not np.isfinite(faulty.estimate(broken, ALL)[0]).all()
    faulty.remember(np.where(ALL[:, None] == 0, np.nan, actions[0]), ALL)
    found = faulty.estimate(observations[2], ALL)
    assert np.isfinite(found).all()
    # As if the faulty step had not been, but for its action, which is unknown.
    spared.remember(np.where(ALL[:, None] == 0, 0, actions[0]), ALL)
    np.testing.assert_array_equal(found[0], spared.estimate(observations[2], ALL)[0])


def test_a_saved_state_continues() -> None:
    observations, actions = sequence()
    first, second = an_estimator(), an_estimator()
    first.estimate(observations[0], ALL)
    first.remember(actions[0], ALL)
    second.restore(first.state())
    np.testing.assert_array_equal(first.estimate(observations[1], ALL), second.estimate(observations[1], ALL))


def test_the_target_is_what_the_action_will_meet() -> None:
    """Two environments, three steps; actions take effect at once, or two steps later."""
    true = np.array([[[0.0], [1.0], [2.0], [3.0]], [[10.0], [11.0], [12.0], [13.0]]])
    targets, is_known = targets_of(true, np.array([0, 2]))
    assert targets[0].ravel().tolist() == [0.0, 1.0, 2.0]
    assert targets[1, :2].ravel().tolist() == [12.0, 13.0]
    assert is_known.tolist() == [[True, True, True], [True, True, False]]


def test_the_target_of_an_action_between_two_steps_is_between_two_observations() -> None:
    """A quarter of a step late, and one and three quarters."""
    true = np.array([[[0.0], [1.0], [4.0], [8.0]], [[10.0], [11.0], [14.0], [18.0]]])
    targets, is_known = targets_of(true, np.array([0.25, 1.75]))
    assert targets[0].ravel().tolist() == [0.25, 1.75, 5.0]
    assert targets[1, :2].ravel().tolist() == [13.25, 17.0]
    assert is_known.tolist() == [[True, True, True], [True, True, False]]


def test_corrections_shrink_where_members_disagree() -> None:
    """By hand, with a weight of 2: the mean 3, 0, 4 of both members has a square of 25, and of (1, 0) of 1."""
    combine = Shrinkage(shrinkage_weights(SPEC, 2.0))
    members = np.array([[[3.0, 0.0, 4.0, 1.5, 0.0]], [[3.0, 0.0, 4.0, 0.5, 0.0]]], np.float32)
    # They agree on the first term. The second has a variance of (0.25 + 0.25) / (2 - 1): 1 / (1 + 4 · 0.5) is left.
    expected = np.array([[3.0, 0.0, 4.0, 1 / 3, 0.0]])
    np.testing.assert_allclose(combine(members), expected, rtol=1e-5)
    of_torch = Shrinkage(shrinkage_weights(SPEC, 2.0), torch.from_numpy)(torch.from_numpy(members))
    np.testing.assert_allclose(of_torch, expected, rtol=1e-5)
    # With a third member at the mean, the variance is (0.25 + 0.25) / (3 - 1).
    three = np.concatenate([members, members.mean(axis=0, keepdims=True)])
    np.testing.assert_allclose(combine(three)[0, 3], 1 / (1 + 4 * 0.25), rtol=1e-5)


def test_what_corrections_are_left_as_they_are() -> None:
    """Those of a single member, and means without a weight of disagreement; no correction stays none."""
    members = np.arange(10, dtype=np.float32).reshape(2, 1, 5)
    np.testing.assert_array_equal(Shrinkage(shrinkage_weights(SPEC, 2.0))(members[:1]), members[0])
    assert shrinkage_weights(SPEC, 0.0) == {}
    np.testing.assert_array_equal(Shrinkage({})(members), members.mean(axis=0))
    np.testing.assert_array_equal(Shrinkage(shrinkage_weights(SPEC, 2.0))(members * 0), members[0] * 0)


def test_the_last_actions_are_newest_first_and_zero_before_the_start() -> None:
    actions = np.array([[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]], np.float32)
    assert last_actions(actions, 1).tolist() == actions.tolist()
    assert last_actions(actions, 3).tolist() == [[[1, 10, 0, 0, 0, 0], [2, 20, 1, 10, 0, 0], [3, 30, 2, 20, 1, 10]]]


def test_the_loss_counts_known_steps_only() -> None:
    corrections, targets = torch.zeros(1, 3, 2), torch.tensor([[[0.0, 0.0], [2.0, 0.0], [9.0, 9.0]]])
    is_known = torch.tensor([[True, True, False]])
    # Huber: |2| - 1/2, averaged over two entries, then over two steps.
    assert float(estimation_loss(corrections, targets, is_known)) == pytest.approx(1.5 / 2 / 2)


def test_without_a_variation_there_is_nothing_to_learn() -> None:
    with pytest.raises(ConfigError, match="variation: needs what the agent is to bear"):
        config_from_dict(EstimatorTrainingConfig, {"agent": "a", "out": "o", "variation": {}})
