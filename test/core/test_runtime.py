"""Numpy inference and the skill policy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from skill_fixtures import TASK, observations, random_model, save_module, small_config

from reskill_core.checkpoint import load_checkpoint, save_checkpoint
from reskill_core.errors import CheckpointError, ConfigError, SpecError
from reskill_core.models.config import EncoderConfig, ReskillModelConfig
from reskill_core.rl.actor import Decision, StandardNormalActor
from reskill_core.runtime import SkillModule, SkillPolicy, load_policy
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND

FULL_SIZE = ReskillModelConfig(latent_dim=3)
LATENT = 3


@pytest.fixture
def folder(tmp_path):
    return save_module(tmp_path / "skills", random_model(small_config()))


def policy(folder, seeds=(0,), **options):
    made = load_policy(folder, **options)
    made.reset(seeds)
    return made


class TestEqualsTorch:
    @pytest.mark.parametrize("norm", ["none", "batch"])
    @pytest.mark.parametrize("prior", ["flow", "gaussian"])
    @pytest.mark.parametrize("batch_invariant", [True, False])
    def test_decoder_and_prior(self, tmp_path, norm, prior, batch_invariant):
        model = random_model(small_config(prior, norm=norm))
        module = SkillModule.load(save_module(tmp_path / "skills", model), batch_invariant)
        observation = observations(33, seed=1)
        noise = np.random.default_rng(0).normal(size=(33, LATENT)).astype(np.float32)
        with torch.no_grad():
            tensors = torch.from_numpy(observation), torch.from_numpy(noise)
            decoded = model.decode(*tensors).numpy()
            latent = model.prior.noise_to_latent(tensors[1], model.features(tensors[0])).numpy()
        np.testing.assert_allclose(module.decode(observation, noise), decoded, atol=1e-5)
        np.testing.assert_allclose(module.noise_to_latent(noise, observation), latent, rtol=1e-5, atol=1e-5)

    def test_at_full_size(self, tmp_path):
        model = random_model(FULL_SIZE)
        with torch.no_grad():  # outputs in the sensitive range of tanh
            model.get_parameter("decoder.linear.3.weight").mul_(0.02)
        module = SkillModule.load(save_module(tmp_path / "skills", model))
        observation, latent = observations(64, seed=1), np.ones((64, LATENT), np.float32)
        with torch.no_grad():
            expected = model.decode(torch.from_numpy(observation), torch.from_numpy(latent)).numpy()
        assert 0.1 < np.abs(expected).mean() < 0.95
        np.testing.assert_allclose(module.decode(observation, latent), expected, atol=1e-5)

    @pytest.mark.parametrize("encoder", [EncoderConfig("mlp", (16,)), EncoderConfig("lstm", (16, 8))])
    def test_encoder(self, tmp_path, encoder):
        model = random_model(small_config(encoder=encoder))
        module = SkillModule.load(save_module(tmp_path / "skills", model))
        observation = observations(8).reshape(2, 4, -1)
        action = np.random.default_rng(0).uniform(-1, 1, (2, 4, 4)).astype(np.float32)
        mean, std = module.encode(observation, action)
        with torch.no_grad():
            expected = model.posterior(torch.from_numpy(observation), torch.from_numpy(action))
        np.testing.assert_array_equal(mean, expected.mean.numpy())
        np.testing.assert_array_equal(std, expected.log_std.exp().numpy())


def test_needs_no_torch(folder):
    script = f"""
import sys, numpy as np
from reskill_core.runtime import load_policy
policy = load_policy({str(folder)!r})
policy.reset([0])
policy.act(np.zeros((1, {TASK.obs.dim})))
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# Saved in this process, loaded in a fresh one: the same action.
def test_same_action_in_another_process(folder):
    script = f"""
import numpy as np
from reskill_core.runtime import load_policy
policy = load_policy({str(folder)!r})
policy.reset([5])
print(policy.act(np.full((1, {TASK.obs.dim}), 0.75)).action.tobytes().hex())
"""
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    here = policy(folder, [5]).act(np.full((1, TASK.obs.dim), 0.75)).action
    assert output.strip() == here.tobytes().hex()


class TestPolicy:
    def test_holds_a_skill_for_its_horizon(self, folder):
        skills = policy(folder)
        actions = [skills.act(observations(1, seed=step)) for step in range(9)]
        assert [int(action.skill_step[0]) for action in actions] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
        latents = np.stack([action.latent[0] for action in actions])
        assert (latents[0:4] == latents[0]).all()
        assert (latents[4:8] == latents[4]).all()
        assert np.abs(np.diff(latents[[0, 4, 8]], axis=0)).min() > 1e-3

    def test_answers_the_observation_in_every_step(self, folder):
        skills = policy(folder)
        one, two = skills.act(observations(1, seed=0)), skills.act(observations(1, seed=1))
        assert np.abs(one.action - two.action).max() > 1e-3
        np.testing.assert_array_equal(two.action, skills.module.decode(observations(1, seed=1), two.latent))

    def test_action_content(self, folder):
        action = policy(folder, range(3)).act(observations(3))
        assert action.action.dtype == action.latent.dtype == action.residual_weight.dtype == np.float32
        assert action.skill_step.dtype == np.int64
        assert action.action.shape == (3, TASK.action.dim)
        assert np.abs(action.action).max() <= 1
        np.testing.assert_array_equal(action.action, action.decoded_action)
        assert not action.residual.any()
        assert not action.residual_weight.any()

    @pytest.mark.parametrize("mode", ["sample", "mode"])
    def test_depends_on_the_seed_alone(self, folder, mode):
        runs = [[policy(folder, [seed], mode=mode).act(observations(1)).latent[0] for _ in range(2)] for seed in (1, 2)]
        assert (runs[0][0] == runs[0][1]).all()
        assert (runs[0][0] == runs[1][0]).all() == (mode == "mode")

    def test_noise_without_an_agent(self, folder):
        now, actor = observations(2), StandardNormalActor(LATENT)
        still, drawn = actor.act(now).value, np.ones((2, LATENT), np.float32)
        assert not still.any()
        assert still.shape == (2, LATENT)
        assert still.dtype == np.float32
        np.testing.assert_array_equal(actor.act(now, drawn).value, drawn)
        normal = policy(folder, range(2), latent_source="standard_normal").act(now).latent
        assert np.abs(normal[0] - normal[1]).min() > 1e-3

    def test_rows_are_as_if_alone_unless_asked_otherwise(self, folder):
        checkpoint = load_checkpoint(folder, SKILL_MODULE_KIND)
        assert SkillModule(checkpoint).batch_invariant
        assert SkillModule.load(folder).batch_invariant
        assert load_policy(folder).module.batch_invariant
        assert load_policy("agents/slippery_push").module.batch_invariant
        assert not load_policy("agents/slippery_push", batch_invariant=False).module.batch_invariant
        assert not SkillModule(checkpoint, False).batch_invariant

    def test_later_results_do_not_change_earlier_ones(self, folder):
        skills = policy(folder)
        first = skills.act(observations(1))
        kept = first.latent.copy(), first.skill_step.copy(), first.action.copy()
        for step in range(6):
            skills.act(observations(1, seed=step))
        for now, before in zip((first.latent, first.skill_step, first.action), kept, strict=True):
            np.testing.assert_array_equal(now, before)

    # A batch of any size gives each environment what it would get alone, to the last bit, with resets in between.
    @pytest.mark.parametrize("prior", ["flow", "gaussian"])
    def test_rows_of_a_batch_are_as_if_alone(self, tmp_path, prior):
        config = ReskillModelConfig(prior=small_config(prior).prior, horizon=3)
        folder = save_module(tmp_path / "skills", random_model(config))
        count = 13
        together = policy(folder, range(count))
        alone = [policy(folder, [seed]) for seed in range(count)]
        for step in range(8):
            if step == 4:  # some start a new episode in the middle of a skill
                together.reset([70, 80], [3, 9])
                alone[3].reset([70])
                alone[9].reset([80])
            now = observations(count, seed=step)
            batch = together.act(now)
            for row, single in enumerate(alone):
                expected = single.act(now[row : row + 1])
                np.testing.assert_array_equal(batch.action[row], expected.action[0])
                np.testing.assert_array_equal(batch.latent[row], expected.latent[0])
                assert batch.skill_step[row] == expected.skill_step[0]

    def test_acts_for_some_environments_while_others_stand_still(self, folder):
        some, alone = policy(folder, range(3)), policy(folder, [1])
        for step in range(6):
            now = observations(1, seed=step)
            np.testing.assert_array_equal(some.act(now, [1]).action, alone.act(now).action)
        assert some.act(observations(2), [0, 2]).skill_step.tolist() == [0, 0]

    def test_nan_spoils_its_own_row_only(self, folder):
        now = observations(3)
        expected = policy(folder, range(3)).act(now).action
        now[1, 0] = np.nan
        action = policy(folder, range(3)).act(now).action
        assert np.isnan(action[1]).all()
        np.testing.assert_array_equal(action[[0, 2]], expected[[0, 2]])

    def test_standard_normal_latents_are_the_noise(self, folder):
        normal = policy(folder, range(2000), latent_source="standard_normal").act(observations(2000)).latent
        assert abs(normal.mean()) < 0.05
        assert normal.std() == pytest.approx(1, abs=0.05)
        module = SkillModule.load(folder)
        latent = policy(folder, range(2000)).act(observations(2000)).latent
        np.testing.assert_array_equal(module.noise_to_latent(normal, observations(2000)), latent)

    def test_agent_supplies_noise_and_residual(self, folder):
        class Always:
            def __init__(self, value, dim):
                self.value, self.dim = value, dim

            def act(self, inputs, draws=None):
                return Decision(np.full((len(inputs), self.dim), self.value, np.float32), None)

        module = SkillModule.load(folder)
        skills = SkillPolicy(module, high_level=Always(0.25, LATENT), residual=Always(4.0, 4), residual_weight=0.5)
        skills.reset([0])
        action = skills.act(observations(1))
        expected = module.noise_to_latent(np.full((1, LATENT), 0.25), observations(1))
        np.testing.assert_array_equal(action.latent, expected)
        np.testing.assert_array_equal(action.action, np.ones((1, 4)))  # decoded + 2, clipped
        np.testing.assert_array_equal(action.decoded_action, module.decode(observations(1), expected))
        assert action.residual_weight[0] == 0.5


class TestRefusals:
    def test_wrong_shapes(self, folder):
        skills = policy(folder, range(2))
        with pytest.raises(SpecError, match=r"shape \(3, 10\), expected \(2, 10\)"):
            skills.act(observations(3))
        with pytest.raises(SpecError, match=r"shape \(2, 9\)"):
            skills.act(observations(2)[:, 1:])
        with pytest.raises(SpecError, match=r"latents has shape \(2, 4\), expected \(2, 3\)"):
            skills.module.decode(observations(2), np.zeros((2, 4)))
        with pytest.raises(SpecError, match=r"noise has shape \(2, 3\), expected \(3, 3\)"):
            skills.module.noise_to_latent(np.zeros((2, 3)), observations(3))
        with pytest.raises(SpecError, match=r"latents has shape \(2, 3\), expected \(3, 3\)"):
            skills.module.decode(observations(3), np.zeros((2, 3)))
        with pytest.raises(SpecError, match="there are 2 envs"):
            skills.reset([1], [2])

    def test_before_the_first_reset(self, folder):
        with pytest.raises(SpecError, match="reset"):
            load_policy(folder).act(observations(1))

    def test_unknown_modes_name_the_known_ones(self, folder):
        with pytest.raises(ConfigError, match="unknown mode 'best'; allowed: auto, mode, sample"):
            load_policy(folder, mode="best")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="allowed: prior, standard_normal"):
            load_policy(folder, latent_source="uniform")  # type: ignore[arg-type]

    def test_incomplete_module(self, folder, tmp_path):
        whole = load_checkpoint(folder, SKILL_MODULE_KIND)
        weights = {name: array for name, array in whole.weights.items() if name != "prior.couplings.1.last.bias"}
        other = save_checkpoint(tmp_path / "other", SKILL_MODULE_KIND, weights, whole.document)
        with pytest.raises(CheckpointError, match=r"prior\.couplings\.1\.last\.bias"):
            SkillModule.load(other)
