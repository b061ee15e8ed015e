"""Features, encoder, decoder, priors and losses of the skill VAE."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from skill_fixtures import FEATURES, TASK, observations, random_model, small_config

from reskill_core.config import config_from_dict, config_to_dict
from reskill_core.errors import ConfigError, SpecError
from reskill_core.models.config import EncoderConfig, FeatureConfig, PriorConfig, SkillModelConfig
from reskill_core.models.distributions import DiagonalGaussian
from reskill_core.models.features import FeatureMap
from reskill_core.models.prior import SkillPrior
from reskill_core.models.priors import PRIORS, build_prior
from reskill_core.models.skill_model import SkillLosses
from reskill_core.models.skill_vae import SkillVae

LATENT, FEATURE_DIM = 3, 7
PRIOR_KINDS = sorted(PRIORS)


def perturbed_prior(kind: Any, latent_dim: int = LATENT, log_scale_limit: float = 2.0) -> SkillPrior:
    config = PriorConfig(kind=kind, hidden=(16,), coupling_hidden=8, log_scale_limit=log_scale_limit)
    prior = build_prior(config, FEATURE_DIM, latent_dim).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return prior


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestFeatures:
    def test_offset_and_direction_by_hand(self):
        features = FeatureMap.fit(replace(FEATURES, limit=1e3), TASK.obs, observations(100))
        observation = np.zeros((1, TASK.obs.dim), np.float32)
        observation[0, TASK.obs.slice("goal_position")] = [0.3, 0.0, 0.4]
        raw = features(observation) * features.std + features.mean
        np.testing.assert_allclose(raw[0, : TASK.obs.dim], observation[0], atol=1e-6)
        np.testing.assert_allclose(raw[0, TASK.obs.dim : TASK.obs.dim + 3], [0.3, 0.0, 0.4], atol=1e-6)
        # |offset| = 0.5, softened by 0.01: the direction is offset / sqrt(0.2501).
        np.testing.assert_allclose(raw[0, TASK.obs.dim + 3 :], [0.59988, 0.0, 0.79984], atol=1e-5)

    def test_direction_has_a_finite_gradient_where_both_coincide(self):
        model = random_model(small_config())
        observation = torch.zeros(1, TASK.obs.dim, requires_grad=True)
        (gradient,) = torch.autograd.grad(model.features(observation).sum(), observation)
        assert torch.isfinite(gradient).all()

    def test_normalises_the_training_data(self):
        data = observations(5000)
        normalised = FeatureMap.fit(FEATURES, TASK.obs, data)(data)
        np.testing.assert_allclose(normalised.mean(axis=0), 0, atol=1e-3)
        np.testing.assert_allclose(normalised.std(axis=0), 1, atol=1e-3)

    def test_statistics_do_not_depend_on_an_offset(self):
        near, far = observations(1000), observations(1000) + np.float32(100)
        stds = [FeatureMap.fit(FeatureConfig(), TASK.obs, data).std for data in (near, far)]
        np.testing.assert_allclose(stds[0], stds[1], rtol=1e-3)

    def test_a_constant_entry_is_not_blown_up(self):
        data = observations(100)
        data[:, 0] = 0.5
        features = FeatureMap.fit(FEATURES, TASK.obs, data)
        assert features.std[0] == pytest.approx(FEATURES.std_floor)

    def test_outliers_are_clipped(self):
        features = FeatureMap.fit(FEATURES, TASK.obs, observations(100))
        assert np.abs(features(np.full((1, TASK.obs.dim), 1e6, np.float32))).max() == FEATURES.limit

    def test_torch_equals_numpy_and_json_keeps_all_bits(self):
        model = random_model(small_config())
        data = observations(50, seed=1)
        np.testing.assert_allclose(
            model.features(torch.from_numpy(data)).numpy(), model.feature_map(data), rtol=1e-5, atol=1e-6
        )
        again = FeatureMap.from_document(FEATURES, TASK.obs, model.feature_map.to_document())
        np.testing.assert_array_equal(again(data), model.feature_map(data))

    def test_unknown_terms_are_named_with_the_alternatives(self):
        config = FeatureConfig(relative=(("goal_position", "block_position"), ("finger_position", "goal_position")))
        with pytest.raises(ConfigError) as caught:
            FeatureMap.fit(config, TASK.obs, observations(10))
        message = str(caught.value)
        assert "'block_position'" in message
        assert "'finger_position'" in message
        assert "allowed: gripper_position, goal_position" in message


class TestPriors:
    @pytest.mark.parametrize("kind", PRIOR_KINDS)
    @pytest.mark.parametrize("latent_dim", [2, 3, 4])
    def test_inverse_undoes_forward(self, kind, latent_dim):
        prior = perturbed_prior(kind, latent_dim)
        latent, features = normal(64, latent_dim), normal(64, FEATURE_DIM, seed=1)
        noise, _ = prior.latent_to_noise(latent, features)
        assert (noise - latent).abs().mean() > 0.1  # not the identity
        torch.testing.assert_close(prior.noise_to_latent(noise, features), latent)

    @pytest.mark.parametrize("kind", PRIOR_KINDS)
    def test_log_det_is_that_of_the_jacobian(self, kind):
        prior = perturbed_prior(kind)
        latents, features = normal(5, LATENT), normal(5, FEATURE_DIM, seed=1)
        _, log_det = prior.latent_to_noise(latents, features)
        for row in range(5):
            jacobian = torch.autograd.functional.jacobian(
                lambda latent, row=row: prior.latent_to_noise(latent[None], features[row : row + 1])[0][0], latents[row]
            )
            torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, log_det[row])

    @pytest.mark.parametrize("kind", PRIOR_KINDS)
    def test_every_latent_entry_depends_on_the_features(self, kind):
        prior = perturbed_prior(kind)
        noise = normal(1, LATENT)
        change = prior.noise_to_latent(noise, normal(1, FEATURE_DIM, seed=1)) - prior.noise_to_latent(
            noise, normal(1, FEATURE_DIM, seed=2)
        )
        assert (change.abs() > 1e-3).all()

    @pytest.mark.parametrize("kind", PRIOR_KINDS)
    def test_starts_as_the_standard_normal(self, kind):
        prior = build_prior(PriorConfig(kind=kind), FEATURE_DIM, LATENT).double()
        latent, features = normal(10, LATENT), normal(10, FEATURE_DIM, seed=1)
        expected = torch.distributions.Normal(0.0, 1.0).log_prob(latent).sum(dim=-1)
        torch.testing.assert_close(prior.at(features).log_prob(latent), expected)
        torch.testing.assert_close(prior.noise_to_latent(latent, features), latent)

    @pytest.mark.parametrize("kind", PRIOR_KINDS)
    def test_scales_stay_bounded_whatever_the_features(self, kind):
        prior = perturbed_prior(kind, log_scale_limit=1.0)
        _, log_det = prior.latent_to_noise(normal(20, LATENT), 1e4 * normal(20, FEATURE_DIM, seed=1))
        transformed = 2 * LATENT + 2 if kind == "flow" else LATENT  # four couplings change 2, 1, 2, 1 entries
        assert (log_det.abs() <= transformed * 1.0).all()

    def test_gaussian_log_prob_by_hand(self):
        prior = build_prior(PriorConfig(kind="gaussian", hidden=(4,)), FEATURE_DIM, 2).double()
        raw = 2 * math.atanh(math.log(2) / 2)
        with torch.no_grad():  # mean (1, -1), std (2, 1/2): log_std = 2 tanh(raw / 2) = +-log 2
            prior.get_parameter("net.linear.1.bias").copy_(torch.tensor([1.0, -1.0, raw, -raw]))
        latent = torch.tensor([[3.0, -1.5]], dtype=torch.float64)  # one std away in both
        # -1/2 (1 + 1) - log(2 pi) - log 2 - log(1/2)
        assert prior.at(normal(1, FEATURE_DIM)).log_prob(latent).item() == pytest.approx(-1 - math.log(2 * math.pi))


class TestVae:
    @pytest.mark.parametrize(
        ("mean", "std", "expected"),
        [
            ([0.0, 0.0], [1.0, 1.0], 0.0),
            ([2.0, 0.0], [1.0, 1.0], 2.0),
            ([0.0, 0.0], [2.0, 1.0], 1.5 - math.log(2)),
        ],
    )
    def test_kl_by_hand(self, mean, std, expected):
        kl = DiagonalGaussian(torch.tensor([mean]), torch.tensor([std]).log()).kl_to_standard_normal()
        assert kl.item() == pytest.approx(expected)

    def test_kl_is_never_negative(self):
        assert (DiagonalGaussian(normal(1000, 4), normal(1000, 4, seed=1)).kl_to_standard_normal() >= 0).all()

    def test_losses_by_hand(self):
        config = small_config()
        model = random_model(config)
        with torch.no_grad():  # decoder gives tanh(0) = 0, posterior mean 1 and std e^(5 tanh(0)) = 1
            for name in ("decoder.linear.2", "encoder.net.linear.2"):
                model.get_parameter(f"{name}.weight").zero_()
                model.get_parameter(f"{name}.bias").zero_()
            model.get_parameter("encoder.net.linear.2.bias")[: config.latent_dim] = 1.0
        observation = torch.from_numpy(observations(2 * config.horizon)).view(2, config.horizon, -1)
        action = torch.full((2, config.horizon, TASK.action.dim), 0.5)
        losses = model.losses(observation, action, torch.zeros(2, config.latent_dim))
        assert losses.action_mse.item() == pytest.approx(0.25)
        assert losses.reconstruction.item() == pytest.approx(0.5 * 0.25 * config.horizon * TASK.action.dim)
        assert losses.kl.item() == pytest.approx(0.5 * config.latent_dim)
        assert losses.normal_nll.item() == pytest.approx(0.5 * config.latent_dim * (1 + math.log(2 * math.pi)))
        assert losses.vae(beta=0.1).item() == pytest.approx(0.5 * 0.25 * 16 + 0.1 * 1.5)
        assert losses.total(beta=0.1).item() == pytest.approx(losses.vae(0.1).item() + losses.prior_nll.item())

    def test_prior_loss_moves_the_prior_alone(self):
        model = random_model(small_config())
        self._losses(model).prior_nll.backward()
        moved = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert moved == {"prior"}

    def test_vae_loss_leaves_the_prior_alone(self):
        model = random_model(small_config())
        self._losses(model).vae(beta=1.0).backward()
        moved = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert moved == {"encoder", "decoder"}

    @pytest.mark.parametrize("encoder", [EncoderConfig("mlp", (16,)), EncoderConfig("lstm", (16, 8))])
    def test_posterior_sees_the_order_of_the_steps(self, encoder):
        model = random_model(small_config(encoder=encoder))
        observation = torch.from_numpy(observations(8)).view(2, 4, -1)
        action = normal(2, 4, TASK.action.dim).float()
        mean = model.posterior(observation, action).mean
        flipped = model.posterior(observation.flip(1), action.flip(1)).mean
        assert (mean - flipped).abs().max() > 1e-3

    def test_decoder_answers_observation_and_latent(self):
        model = random_model(small_config())
        observation = torch.from_numpy(observations(2))
        actions = [model.decode(observation, torch.full((2, 3), value)) for value in (0.0, 1.0)]
        assert (actions[0] - actions[1]).abs().max() > 1e-3
        assert (actions[0][0] - actions[0][1]).abs().max() > 1e-3
        assert max(action.abs().max() for action in actions) <= 1

    def test_wrong_shapes_are_refused(self):
        model = random_model(small_config())
        window = torch.zeros(2, 4, TASK.obs.dim)
        action = torch.zeros(2, 4, 4)
        with pytest.raises(SpecError, match=r"observation window has shape \(2, 4, 9\), expected \(any, 4, 10\)"):
            model.posterior(window[..., :9], action)
        with pytest.raises(SpecError, match=r"action window has shape \(2, 3, 4\), expected \(2, 4, 4\)"):
            model.posterior(window, action[:, :3])
        with pytest.raises(SpecError, match=r"latent has shape \(1, 3\), expected \(2, 3\)"):
            model.decode(window[:, 0], torch.zeros(1, 3))
        with pytest.raises(SpecError, match=r"noise has shape \(2, 4\), expected \(2, 3\)"):
            model.losses(window, action, torch.zeros(2, 4))

    @staticmethod
    def _losses(model: SkillVae) -> SkillLosses:
        observation = torch.from_numpy(observations(8)).view(2, 4, -1)
        return model.losses(observation, normal(2, 4, TASK.action.dim).float(), normal(2, 3).float())


class TestConfig:
    def test_three_faults_in_one_error(self):
        document = {"horizon": 0, "prior": {"couplings": 1}, "features": {"std_floor": 0}}
        with pytest.raises(ConfigError) as caught:
            config_from_dict(SkillModelConfig, document)
        assert all(fault in str(caught.value) for fault in ("horizon", "prior.couplings", "features.std_floor"))

    def test_unknown_prior_names_the_registered_ones(self):
        with pytest.raises(ConfigError) as caught:
            config_from_dict(SkillModelConfig, {"prior": {"kind": "gmm"}})
        assert all(kind in str(caught.value) for kind in PRIOR_KINDS)

    def test_survives_json(self):
        config = small_config(encoder=EncoderConfig("lstm", (5,)))
        assert config_from_dict(SkillModelConfig, config_to_dict(config)) == config
