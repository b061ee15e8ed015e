"""SPiRL's skill models: decoders, priors, images, named features, and flat priors."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from skill_fixtures import FEATURES, TASK, observations, training_config, write_reaching_data

from reskill_core.checkpoint import load_checkpoint, load_training_state, save_checkpoint
from reskill_core.config import config_from_dict
from reskill_core.data import DatasetWriter
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec
from reskill_core.errors import ConfigError
from reskill_core.models.config import FeatureConfig
from reskill_core.models.decoders import OpenLoopDecoder
from reskill_core.models.distributions import DiagonalGaussian
from reskill_core.models.io import module_contents
from reskill_core.models.observations import as_tensors
from reskill_core.models.skill_model import SkillDecoder, SkillModel
from reskill_core.models.spirl.conditioned import ConditionedModel
from reskill_core.models.spirl.config import (
    DecoderConfig,
    FlatConfig,
    ImageConfig,
    SpirlConfig,
    SpirlEncoderConfig,
    SpirlPriorConfig,
)
from reskill_core.models.spirl.flat import FlatModel
from reskill_core.models.spirl.mixture import GaussianMixture
from reskill_core.models.spirl.model import SpirlModel
from reskill_core.runtime import SkillModule, load_policy
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.spec import ImageFeature, TaskSpec
from reskill_core.training.config import SkillTrainingConfig
from reskill_core.training.metrics import Throughput
from reskill_core.training.skill_trainer import SkillTrainer, train_skills

ModelT = TypeVar("ModelT", bound=ConditionedModel)
PICTURES = replace(TASK, obs=replace(TASK.obs, images=(ImageFeature("camera", 12, 8, 3, stack=2),)))
PRIOR = SpirlPriorConfig(hidden=(12,), couplings=2, coupling_hidden=8)


def config(loop: str = "closed_loop", prior_kind: str = "flow", **changes: Any) -> SpirlConfig:
    """A model that trains in milliseconds."""
    values: dict[str, Any] = {
        "horizon": 4,
        "latent_dim": 3,
        "features": FEATURES,
        "images": ImageConfig(channels=2, features=5),
        "encoder": SpirlEncoderConfig(hidden=(16,)),
        "decoder": DecoderConfig(kind=loop, hidden=(16, 12), norm="none"),  # type: ignore[arg-type]
        "prior": replace(PRIOR, kind=prior_kind),  # type: ignore[arg-type]
    }
    return SpirlConfig(**{**values, **changes})


def model_of(settings: SpirlConfig, task: TaskSpec = TASK) -> SpirlModel:
    """A model of random weights, none of them zero."""
    return randomised(SpirlModel, settings, task)


def randomised(kind: type[ModelT], settings: SpirlConfig | FlatConfig, task: TaskSpec) -> ModelT:
    """A model of a kind, likewise."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind.fitted(settings, task, observations(200))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def seen(task: TaskSpec, *shape: int, seed: int = 0) -> Any:
    """Observations (*shape, ...) in the layout of a task."""
    rng, count = np.random.default_rng(seed), int(np.prod(shape))
    vectors = observations(count, seed).reshape(*shape, -1)
    images = {item.name: rng.integers(0, 256, (*shape, *item.shape), dtype=np.uint8) for item in task.obs.images}
    return task.obs.observation(vectors, images)


# ---------------------------------------------------------------------- decoders and graphs


CLOCKED = DecoderConfig(hidden=(16,), norm="none", clock=True)


@pytest.mark.parametrize("decoder", ["closed_loop", "open_loop", "clock"])
def test_a_window_is_decoded_as_its_steps_are(decoder: str) -> None:
    model = model_of(config(decoder=CLOCKED) if decoder == "clock" else config(decoder))
    features, latent = model.features(as_tensors(seen(TASK, 2, 4))), torch.randn(2, 3)
    with torch.no_grad():
        found = model.decoder.window(features, latent)
        torch.testing.assert_close(found, SkillDecoder.window(model.decoder, features, latent))
        other = model.decoder.window(torch.cat((features[:, :1], 0 * features[:, 1:]), dim=1), latent)
    assert (found[:, 0] - found[:, 1]).abs().max() > 1e-3
    # Open loop: what is seen after the first step changes nothing.
    assert torch.equal(found, other) == (decoder == "open_loop")


def test_the_step_of_the_predicting_lstm_is_that_of_torch() -> None:
    model = model_of(config("open_loop"))
    decoder = model.decoder
    assert isinstance(decoder, OpenLoopDecoder)
    state = torch.randn(5, decoder.state_dim)
    latent, action, hidden, cell = state.split((3, 4, 16, 16), dim=-1)
    reference = torch.nn.LSTMCell(7, 16)
    with torch.no_grad():
        reference.weight_ih.copy_(decoder.gates.weight[:, :7])
        reference.weight_hh.copy_(decoder.gates.weight[:, 7:])
        reference.bias_ih.copy_(decoder.gates.bias)
        reference.bias_hh.zero_()
        expected = reference(torch.cat((latent, action), dim=-1), (hidden, cell))
        found = decoder.act(torch.zeros(5, model.feature_dim), state)[1].split((3, 4, 16, 16), dim=-1)
    torch.testing.assert_close(found[2], expected[0])
    torch.testing.assert_close(found[3], expected[1])


@pytest.mark.parametrize(
    ("settings", "task"),
    [
        (config("open_loop", "gaussian"), TASK),
        (config("closed_loop", "mixture"), TASK),
        (config("open_loop", "flow"), PICTURES),
        (config(decoder=CLOCKED), TASK),
        (FlatConfig(prior=PRIOR, images=ImageConfig(2, 5, shared=True)), PICTURES),
    ],
)
def test_graphs_act_as_the_model(settings: SpirlConfig | FlatConfig, task: TaskSpec, tmp_path: Path) -> None:
    kind = SpirlModel if isinstance(settings, SpirlConfig) else FlatModel
    model: SkillModel = randomised(kind, settings, task)
    module = SkillModule.load(save_checkpoint(tmp_path / "m", SKILL_MODULE_KIND, *module_contents(model, task)))
    assert module.maps_noise == (settings.prior.kind != "mixture")
    latent = np.random.default_rng(0).normal(size=(3, module.latent_dim)).astype(np.float32)
    state, expected_state = np.zeros(0, np.float32), torch.zeros(0)
    with torch.no_grad():
        for step in range(3):
            now = seen(task, 3, seed=step)
            features, expected = module.features(now), model.features(as_tensors(now))
            np.testing.assert_allclose(features.reshape(3, -1), expected, atol=1e-5)
            if step == 0:
                state = module.begin(features, latent)
                expected_state = model.decoder.begin(expected, torch.from_numpy(latent))
            action, state = module.act(features, state)
            expected_action, expected_state = model.decoder.act(expected, expected_state)
            np.testing.assert_allclose(action, expected_action, atol=1e-5)
            np.testing.assert_allclose(state, expected_state, atol=1e-5)


def test_a_clock_runs_from_0_to_1_and_stands_still() -> None:
    decoder = model_of(config(decoder=CLOCKED)).decoder
    features, times = torch.zeros(1, decoder._seen.dim), []
    state = decoder.begin(features, torch.ones(1, 3))
    for _ in range(6):
        times.append(state[0, -1].item())
        state = decoder.act(features, state)[1]
    assert times == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


# ---------------------------------------------------------------------- priors


def test_a_mixture_by_hand() -> None:
    mixture = GaussianMixture(
        torch.log(torch.tensor([[0.25, 0.75]])), torch.tensor([[[0.0, 0.0], [4.0, 0.0]]]), torch.zeros(1, 2, 2)
    )
    at = torch.tensor([[0.0, 0.0]])
    # (1/4 + 3/4 exp(-8)) / (2 pi)
    assert mixture.log_prob(at).exp().item() == pytest.approx((0.25 + 0.75 * np.exp(-8.0)) / (2 * np.pi), rel=1e-5)
    assert mixture.mode().tolist() == [[4.0, 0.0]]
    many = GaussianMixture(
        *(part.expand(4000, *part.shape[1:]) for part in (mixture.log_weight, mixture.mean, mixture.log_std))
    )
    drawn = many.sample(torch.Generator().manual_seed(0))
    assert (drawn[:, 0] > 2).float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert drawn[:, 1].std().item() == pytest.approx(1.0, abs=0.05)
    gaussian = DiagonalGaussian(torch.zeros(4000, 2), torch.zeros(4000, 2))
    # E[log N(z; 0, I) - log(1/4 N(z; 0, I) + ...)] is between 0 and log 4.
    assert 0.5 < gaussian.kl(many, torch.Generator().manual_seed(0)).mean().item() < np.log(4.0)


def test_a_mixture_learns_two_modes_and_a_gaussian_cannot() -> None:
    latent = torch.tensor([[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0]]).repeat(64, 1)
    latent = latent + 0.1 * torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
    reached = {}
    for kind in ("mixture", "gaussian"):
        model = model_of(config(prior_kind=kind))
        features = torch.zeros(128, model.feature_dim)
        optimiser = torch.optim.Adam(model.prior_parameters(), 0.1)
        for _ in range(60):
            loss = model.prior_nll(features, latent)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        reached[kind] = loss.item()
    assert reached["mixture"] < reached["gaussian"] - 1.5


def test_members_of_an_ensemble_learn_from_their_share_and_disagree() -> None:
    model = model_of(config(prior_kind="gaussian"))
    single = model_of(replace(config(), prior=replace(PRIOR, kind="gaussian", ensemble=3)))
    features, latent = torch.randn(7, single.feature_dim), torch.randn(7, 3)
    members: Any = single.prior.members
    expected = [members[row % 3].at(features[row : row + 1]).log_prob(latent[row : row + 1]) for row in range(7)]
    torch.testing.assert_close(single.prior_nll(features, latent), -torch.cat(expected).mean())
    torch.testing.assert_close(single.prior_of(features).mode(), members[0].at(features).mode())
    assert single.prior.disagreement(features) > 0.01
    for member in members:
        member.load_state_dict(members[0].state_dict())
    assert single.prior.disagreement(features).abs() < 1e-6
    windows = as_tensors(seen(TASK, 6, 4)), torch.zeros(6, 4, 4), torch.zeros(6, 3)
    assert single.losses(*windows).disagreement is not None
    assert model.losses(*windows).disagreement is None


# ---------------------------------------------------------------------- images and named features


def test_columns_name_vector_terms_and_images(tmp_path: Path) -> None:
    model = model_of(config(), PICTURES)
    plain = model.feature_columns["vector"]
    assert plain == (0, TASK.obs.dim + 6)  # one relative pair: offset and direction
    assert model.feature_columns["finger_position"] == (3, 4)
    assert model.feature_columns["camera"] == (plain[1], plain[1] + 5)
    assert model.feature_columns["prior_camera"] == (plain[1] + 5, plain[1] + 10)
    assert model.feature_dim == plain[1] + 10
    module = SkillModule.load(save_checkpoint(tmp_path / "m", SKILL_MODULE_KIND, *module_contents(model, PICTURES)))
    assert module.feature_columns == model.feature_columns
    shared = model_of(config(images=ImageConfig(2, 5, shared=True)), PICTURES)
    assert "prior_camera" not in shared.feature_columns
    blind = model_of(
        config(
            encoder=SpirlEncoderConfig(hidden=(16,), inputs=()), decoder=DecoderConfig(hidden=(8,), inputs=("vector",))
        ),
        PICTURES,
    )
    assert blind.image_steps == 1
    # One name for the only features of the image.
    assert blind.feature_columns == shared.feature_columns


def test_networks_see_what_they_are_told_to() -> None:
    settings = config(
        encoder=SpirlEncoderConfig(hidden=(16,), inputs=()),
        decoder=DecoderConfig(hidden=(8,), inputs=("finger_position", "camera"), norm="none"),
        prior=replace(PRIOR, kind="gaussian", inputs=("camera",)),
    )
    model = model_of(settings, PICTURES)
    features, action, latent = torch.randn(3, 4, model.feature_dim), torch.randn(3, 4, 4), torch.randn(3, 3)

    def changed(name: str) -> tuple[bool, bool, bool]:
        start, stop = model.feature_columns[name]
        other = features.clone()
        other[..., start:stop] += 1.0
        with torch.no_grad():
            pairs = (
                [model.posterior_of(part, action).mean for part in (features, other)],
                [model.decoder.window(part, latent) for part in (features, other)],
                [model.prior_of(part[:, 0]).mode() for part in (features, other)],
            )
        encoder, decoder, prior = (not torch.equal(*pair) for pair in pairs)
        return encoder, decoder, prior

    assert changed("finger_position") == (False, True, False)
    assert changed("gripper_position") == (False, False, False)
    assert changed("camera") == (False, True, False)
    assert changed("prior_camera") == (False, False, True)
    with pytest.raises(ConfigError, match=r"prior.inputs: no features 'depth'; allowed: vector, .*, camera"):
        model_of(config(prior=replace(PRIOR, inputs=("depth",))), PICTURES)


@pytest.mark.parametrize("shared", [True, False])
def test_windows_have_the_features_of_their_observations(shared: bool) -> None:
    settings = config(
        "open_loop", encoder=SpirlEncoderConfig(hidden=(16,), inputs=("vector",)), images=ImageConfig(2, 5, shared)
    )
    model, windows = model_of(settings, PICTURES), as_tensors(seen(PICTURES, 3, 4))
    assert isinstance(windows, dict)
    whole = model.features(windows)
    first_images = {**windows, "camera": windows["camera"][:, :1]}
    for given in (windows, first_images):
        steps, first = model.window_features(given)
        torch.testing.assert_close(first, whole[:, 0])
        columns = slice(*model.feature_columns["camera"])
        torch.testing.assert_close(steps[:, 0, columns], whole[:, 0, columns])
        assert not steps[:, 1:, columns].any()


def test_the_prior_does_not_move_the_convolutions_of_the_skills() -> None:
    model, windows = model_of(config(), PICTURES).train(), as_tensors(seen(PICTURES, 3, 4))
    model.losses(windows, torch.zeros(3, 4, 4), torch.zeros(3, 3)).prior_nll.backward()
    moved = {
        name: [bool(parameter.grad is not None and parameter.grad.any()) for parameter in part.parameters()]
        for name, part in (("skills", model.images), ("prior", model.prior_images))
    }
    assert not any(moved["skills"])
    assert all(moved["prior"])
    apart = set(map(id, model.prior_parameters()))
    assert all(id(parameter) in apart for parameter in model.prior_images.parameters())


def test_pictures_are_reconstructed_from_their_features() -> None:
    model = model_of(config(images=ImageConfig(8, 16, reconstruction=2.0)), PICTURES).train()
    windows = as_tensors(seen(PICTURES, 2, 4))
    optimiser, errors = torch.optim.Adam(model.parameters(), 3e-3), []
    for _ in range(60):
        loss = model.losses(windows, torch.zeros(2, 4, 4), torch.zeros(2, 3))
        optimiser.zero_grad()
        assert loss.image_loss is not None
        loss.image_loss.backward()
        optimiser.step()
        errors.append(loss.image_loss.item())
    assert errors[-1] < 0.7 * errors[0]
    assert loss.vae(0.0).item() == pytest.approx(loss.reconstruction.item() + errors[-1], rel=1e-5)


def test_a_flat_prior_clones_actions(tmp_path: Path) -> None:
    data = write_reaching_data(tmp_path / "data")
    settings = config_from_dict(
        SkillTrainingConfig,
        {
            "data": "d",
            "out": "o",
            "model": {"kind": "flat", "features": {"relative": [["goal_position", "gripper_position"]]}},
        },
    ).model
    run = train_skills(training_config(data, tmp_path / "run", model=settings, steps=300), show_progress=False)
    module = SkillModule.load(run.checkpoint)
    assert (module.horizon, module.latent_dim, module.state_dim) == (1, 4, 4)
    gripper, goal = np.array([0.6, 0.7, 0.8]), np.array([0.9, 0.65, 0.78])
    now = np.concatenate([gripper, [0.05], [0.0, 0.0, 0.0], goal])[None].astype(np.float32)
    likely = module.decode(now, module.noise_to_latent(np.zeros((1, 4)), now))[0]
    np.testing.assert_allclose(likely, [1.0, -0.5, -0.2, 0.5], atol=0.25)
    assert np.abs(module.decode(now, np.full((1, 4), 3.0))).max() == 1.0
    with pytest.raises(ConfigError, match="latents of kind 'flat' are actions, which have 4 components, got 3"):
        FlatModel.fitted(FlatConfig(latent_dim=3), TASK, observations(10))


@pytest.mark.parametrize(
    "settings",
    [
        config("open_loop", "mixture", encoder=SpirlEncoderConfig(hidden=(16,), inputs=("vector",))),
        config("closed_loop", "flow"),
    ],
)
def test_images_are_learnt_from_and_acted_on(settings: SpirlConfig, tmp_path: Path) -> None:
    settings = replace(settings, features=replace(settings.features, relative=()))
    spec = synthetic_spec(observation_dim=5, images=(ImageFeature("camera", 8, 8, 3, stack=2),))
    with DatasetWriter(tmp_path / "data", spec) as writer:
        writer.add_shard(synthetic_episodes(spec, 20, min_steps=8, max_steps=12))
    run = train_skills(
        training_config(tmp_path / "data", tmp_path / "run", model=settings, steps=20), show_progress=False
    ).run
    assert SkillModule.load(run).torch_model.image_steps == (4 if settings.encoder.inputs is None else 1)
    policy = load_policy(run, latent_source="standard_normal")
    policy.reset([0, 1])
    vectors, shape = np.zeros((2, 5)), (2, *policy.task_spec.obs.images[0].shape)
    dark = policy.act({"vector": vectors, "camera": np.zeros(shape, np.uint8)}).action
    policy.reset([0, 1])
    bright = policy.act({"vector": vectors, "camera": np.full(shape, 255, np.uint8)}).action
    assert np.abs(dark - bright).max() > 1e-4


def test_a_killed_run_goes_on_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With pictures, a recurrent decoder, an ensemble, and a weight that is adapted."""
    spec = synthetic_spec(observation_dim=5, images=(ImageFeature("camera", 8, 8, 3, stack=2),))
    with DatasetWriter(tmp_path / "data", spec) as writer:
        writer.add_shard(synthetic_episodes(spec, 20, min_steps=8, max_steps=12))
    settings = config("open_loop", prior=replace(PRIOR, kind="mixture", ensemble=2), features=FeatureConfig())
    monkeypatch.setattr(SkillTrainer, "plot", lambda trainer: None)
    found = {}
    for name, killed_at in (("whole", 99), ("killed", 13)):
        run = training_config(tmp_path / "data", tmp_path / name, model=settings, steps=20, target_kl=2.0)
        trainer = SkillTrainer(run)
        step = trainer.train_step

        def limited(throughput: Throughput, trainer: Any = trainer, step: Any = step, last: int = killed_at) -> Any:
            if trainer.progress.step == last:
                raise KeyboardInterrupt
            return step(throughput)

        monkeypatch.setattr(trainer, "train_step", limited)
        with nullcontext() if killed_at > 20 else pytest.raises(KeyboardInterrupt):
            trainer.run(show_progress=False)
        train_skills(run, show_progress=False)
        last = load_checkpoint(tmp_path / name / "checkpoints" / "last", SKILL_MODULE_KIND)
        found[name] = (last.weights, load_training_state(last.folder)["beta"])
    assert found["whole"][1] != 1e-3
    assert found["whole"][1] == found["killed"][1]
    for name, array in found["whole"][0].items():
        if not name.startswith("graphs/"):
            np.testing.assert_array_equal(array, found["killed"][0][name], err_msg=name)
