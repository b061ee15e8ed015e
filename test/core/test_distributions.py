"""Distributions over skills: densities, divergences, samples."""

from __future__ import annotations

import math

import pytest
import torch
from skill_fixtures import random_model, small_config
from toy_skills import Mixture

from reskill_core.models.distributions import DiagonalGaussian, NoiseMapped, SkillDistribution


def gaussian(mean: list[float], std: list[float]) -> DiagonalGaussian:
    return DiagonalGaussian(torch.tensor([mean]), torch.tensor([std]).log())


def test_kl_between_gaussians_by_hand() -> None:
    one, other = gaussian([1.0, 0.0], [2.0, 1.0]), gaussian([0.0, 0.0], [1.0, 4.0])
    # log(1/2) + (4 + 1)/2 - 1/2, and log 4 + 1/32 - 1/2.
    assert one.kl(other).item() == pytest.approx(math.log(2) + 2.0 + 1 / 32 - 0.5)
    assert one.kl(one).item() == pytest.approx(0.0, abs=1e-6)


def test_kl_to_the_standard_normal_is_that_to_a_gaussian_of_zero_and_one() -> None:
    one = gaussian([1.0, -2.0], [2.0, 0.5])
    torch.testing.assert_close(one.kl_to_standard_normal(), one.kl(gaussian([0.0, 0.0], [1.0, 1.0])))


def test_kl_is_estimated_where_there_is_no_closed_form() -> None:
    """Against a mixture of a Gaussian with itself, which is that Gaussian: a mean over many samples."""
    count, generator = 20_000, torch.Generator().manual_seed(0)
    one = DiagonalGaussian(torch.full((count, 2), 0.5), torch.zeros(count, 2))
    other = DiagonalGaussian(torch.zeros(count, 2), torch.zeros(count, 2))
    mixture = Mixture([other, other])
    assert one.kl(mixture, generator).mean().item() == pytest.approx(0.25, abs=0.02)
    assert mixture.kl(one, generator).mean().item() == pytest.approx(0.25, abs=0.02)


def test_density_and_samples_of_a_gaussian() -> None:
    one = gaussian([1.0, -1.0], [2.0, 0.25])
    # One standard deviation away in both: -1/2 (1 + 1) - log(2 pi) - log 2 - log(1/4).
    expected = -1 - math.log(2 * math.pi) + math.log(2)
    assert one.log_prob(torch.tensor([[3.0, -1.25]])).item() == pytest.approx(expected)
    many = DiagonalGaussian(one.mean.repeat(20_000, 1), one.log_std.repeat(20_000, 1))
    sample = many.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(sample.mean(dim=0), one.mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(sample.std(dim=0), one.log_std.exp()[0], atol=0.05, rtol=0)
    noise, log_det = one.to_noise(one.from_noise(torch.tensor([[0.3, -0.7]])))
    torch.testing.assert_close(noise, torch.tensor([[0.3, -0.7]]))
    assert log_det.item() == pytest.approx(math.log(2.0), abs=1e-6)


def test_which_distributions_map_noise() -> None:
    assert isinstance(gaussian([0.0], [1.0]), NoiseMapped)
    assert isinstance(random_model(small_config()).prior_of(torch.zeros(1, 16)), NoiseMapped)
    assert not isinstance(Mixture([gaussian([0.0], [1.0])] * 2), NoiseMapped)
    flow = random_model(small_config()).prior_of(torch.zeros(5, 16))
    assert isinstance(flow, SkillDistribution)
    assert flow.sample().shape == (5, 3)
