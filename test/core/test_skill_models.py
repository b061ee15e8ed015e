"""Skill models of any kind: decoders with a state, plug-ins that train, export and act."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from point_mass import Ending, PointMass
from skill_fixtures import (
    TASK,
    observations,
    random_model,
    save_module,
    small_config,
    training_config,
    write_reaching_data,
)
from toy_skills import OpenLoopConfig, OpenLoopModel, RecurrentConfig, RecurrentModel

from reskill_core.checkpoint import load_checkpoint, save_checkpoint
from reskill_core.config import config_from_dict, config_to_dict, load_config
from reskill_core.data import DatasetWriter
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec
from reskill_core.errors import CheckpointError, ConfigError, SpecError, TrainingError
from reskill_core.models.config import ReskillModelConfig, SkillModelConfig
from reskill_core.models.distributions import NoiseMapped
from reskill_core.models.graph_export import export_graphs
from reskill_core.models.io import module_contents
from reskill_core.models.observations import as_tensors
from reskill_core.models.registry import SKILL_MODELS
from reskill_core.models.skill_model import SkillDecoder, SkillModel
from reskill_core.rl.config import AgentConfig, AgentTrainingConfig, PpoConfig
from reskill_core.runtime import SkillModule, load_policy
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.spec import ImageFeature, TaskSpec
from reskill_core.training.agent_trainer import AgentTrainer
from reskill_core.training.config import SkillTrainingConfig
from reskill_core.training.skill_trainer import train_skills

PICTURES = replace(TASK, obs=replace(TASK.obs, images=(ImageFeature("camera", 8, 8, 3, stack=2),)))
ENTRY_POINTS = """
[reskill.skill_models]
open_loop = toy_skills:OPEN_LOOP
recurrent = toy_skills:RECURRENT
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the metadata of a distribution that adds two kinds of models."""
    info = tmp_path_factory.mktemp("site") / "toy_skills-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-skills\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return info.parent


@pytest.fixture(autouse=True)
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if that distribution were installed."""
    monkeypatch.syspath_prepend(str(site))
    vars(SKILL_MODELS).pop("_places", None)
    yield
    vars(SKILL_MODELS).pop("_places", None)


def toy(kind: str, task: TaskSpec = TASK, seed: int = 0) -> SkillModel:
    """A model of random weights."""
    config, model = {
        "open_loop": (OpenLoopConfig(horizon=4, latent_dim=3), OpenLoopModel),
        "recurrent": (RecurrentConfig(horizon=4, latent_dim=3), RecurrentModel),
    }[kind]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return model.fitted(config, task, observations(100)).eval()


def seen(task: TaskSpec, count: int, seed: int = 0) -> Any:
    """Observations in the layout of a task."""
    vectors, rng = observations(count, seed), np.random.default_rng(seed)
    images = {item.name: rng.integers(0, 256, (count, *item.shape), dtype=np.uint8) for item in task.obs.images}
    return task.obs.observation(vectors, images)


# ---------------------------------------------------------------------- decoders


@pytest.mark.parametrize("kind", ["reskill", "open_loop", "recurrent"])
def test_a_window_is_decoded_as_its_steps_are(kind: str) -> None:
    model = random_model(small_config()) if kind == "reskill" else toy(kind)
    features = model.features(torch.from_numpy(observations(8))).view(2, 4, -1)
    latent = torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, -0.5]])
    with torch.no_grad():
        found = model.decoder.window(features, latent)
        torch.testing.assert_close(found, SkillDecoder.window(model.decoder, features, latent))
    assert found.shape == (2, 4, 4)
    assert (found[:, 0] - found[:, 1]).abs().max() > 1e-3


# ---------------------------------------------------------------------- exported graphs


@pytest.mark.parametrize(("kind", "task"), [("open_loop", TASK), ("recurrent", TASK), ("recurrent", PICTURES)])
@pytest.mark.parametrize("batch_invariant", [True, False])
def test_graphs_act_as_the_model(tmp_path: Path, kind: str, task: TaskSpec, batch_invariant: bool) -> None:
    model = toy(kind, task)
    folder = save_checkpoint(tmp_path / "skills", SKILL_MODULE_KIND, *module_contents(model, task))
    module = SkillModule.load(folder, batch_invariant)
    latent = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    states: NDArray[np.float32] = np.zeros((0, 0), np.float32)
    expected_states = torch.zeros(0)
    for step in range(4):
        observation = seen(task, 5, seed=step)
        features = module.features(observation)
        with torch.no_grad():
            expected_features = model.features(as_tensors(observation))
            if step == 0:
                states = module.begin(features, latent)
                expected_states = model.decoder.begin(expected_features, torch.from_numpy(latent))
                assert states.shape == (5, module.state_dim)
            expected, expected_states = model.decoder.act(expected_features, expected_states)
        action, states = module.act(features, states)
        np.testing.assert_allclose(features.reshape(5, -1), expected_features.numpy(), atol=1e-5)
        np.testing.assert_allclose(action, expected.numpy(), atol=1e-5)
        np.testing.assert_allclose(states, expected_states.numpy(), atol=1e-5)
    first = module.decode(observation, latent)
    with torch.no_grad():
        np.testing.assert_allclose(first, model.decode(as_tensors(observation), torch.from_numpy(latent)), atol=1e-5)


@pytest.mark.parametrize(("kind", "task"), [("open_loop", TASK), ("recurrent", PICTURES)])
def test_rows_of_graphs_are_as_if_alone(tmp_path: Path, kind: str, task: TaskSpec) -> None:
    folder = save_checkpoint(tmp_path / "skills", SKILL_MODULE_KIND, *module_contents(toy(kind, task), task))
    module = SkillModule.load(folder)
    observation, latent = seen(task, 7), np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    features = module.features(observation)
    action, states = module.act(features, module.begin(features, latent))
    for row in range(7):
        one = (
            {name: part[row : row + 1] for name, part in observation.items()} if task.obs.images else observation[[row]]
        )
        alone = module.features(one)
        found = module.act(alone, module.begin(alone, latent[[row]]))
        np.testing.assert_array_equal(found[0][0], action[row])
        np.testing.assert_array_equal(found[1][0], states[row])


def test_the_prior_is_a_graph_where_it_maps_noise(tmp_path: Path) -> None:
    model = toy("open_loop")
    folder = save_module(tmp_path / "skills", model)
    module, noise = SkillModule.load(folder), np.ones((2, 3), np.float32)
    assert module.maps_noise
    with torch.no_grad():
        prior = model.prior_of(model.features(torch.from_numpy(observations(2))))
        assert isinstance(prior, NoiseMapped)
        expected = prior.from_noise(torch.from_numpy(noise)).numpy()
    np.testing.assert_allclose(module.noise_to_latent(noise, observations(2)), expected, atol=1e-5)


def test_a_prior_that_maps_no_noise_is_named(tmp_path: Path) -> None:
    module = SkillModule.load(save_module(tmp_path / "skills", toy("recurrent")))
    assert not module.maps_noise
    with pytest.raises(SpecError, match="'recurrent' is no map from noise to latents"):
        module.noise_to_latent(np.zeros((1, 3)), observations(1))
    with pytest.raises(ConfigError, match="latent_source: the prior of a skill model of kind 'recurrent'"):
        load_policy(tmp_path / "skills")


def test_images_are_checked(tmp_path: Path) -> None:
    model = toy("recurrent", PICTURES)
    module = SkillModule.load(save_checkpoint(tmp_path / "s", SKILL_MODULE_KIND, *module_contents(model, PICTURES)))
    whole = seen(PICTURES, 2)
    with pytest.raises(SpecError, match="a mapping of vector, camera"):
        module.features(whole["vector"])
    with pytest.raises(SpecError, match="'camera' must be uint8"):
        module.features({**whole, "camera": whole["camera"][:1]})


def test_acting_weights_are_the_graphs(tmp_path: Path) -> None:
    module = SkillModule.load(save_module(tmp_path / "skills", toy("recurrent")))
    assert sorted(module.acting_weights) == ["graphs/act", "graphs/begin", "graphs/features"]
    reskill = SkillModule.load(save_module(tmp_path / "reskill", random_model(small_config())))
    assert {name.split(".")[0] for name in reskill.acting_weights} == {"decoder", "prior"}


def test_damaged_graphs_are_refused(tmp_path: Path) -> None:
    weights, document = module_contents(toy("open_loop"), TASK)
    for name, changed in (
        ("missing", {k: v for k, v in weights.items() if k != "graphs/act"}),
        ("garbage", {**weights, "graphs/act": np.arange(50, dtype=np.uint8)}),
        ("other", {**weights, "graphs/act": weights["graphs/begin"]}),
    ):
        folder = save_checkpoint(tmp_path / name, SKILL_MODULE_KIND, changed, document)
        with pytest.raises(CheckpointError, match="lacks a part of a skill module, or parts do not fit"):
            SkillModule.load(folder)


class _Branching(OpenLoopModel):
    """Computes something else where values are negative, which a graph cannot follow."""

    def features(self, observation: Any) -> torch.Tensor:
        return super().features(observation) * (1.0 if bool(observation.sum() > 0) else 2.0)


def test_a_model_that_branches_on_values_is_refused() -> None:
    model = _Branching.fitted(OpenLoopConfig(horizon=4, latent_dim=3), TASK, observations(10))
    with pytest.raises(TrainingError, match="another features than the model does"):
        export_graphs(model, TASK)


def test_exporting_leaves_the_model_and_random_numbers_alone() -> None:
    model = toy("open_loop").train()
    before = torch.random.get_rng_state()
    export_graphs(model, TASK)
    assert model.training
    assert torch.equal(before, torch.random.get_rng_state())


# ---------------------------------------------------------------------- plug-ins, from configuration to acting


def test_a_configuration_is_that_of_its_kind(tmp_path: Path) -> None:
    document = {"data": "d", "out": "o", "model": {"kind": "open_loop", "width": 5, "horizon": 4}}
    config = config_from_dict(SkillTrainingConfig, document)
    assert config.model == OpenLoopConfig(width=5, horizon=4)
    assert config_from_dict(SkillTrainingConfig, config_to_dict(config)) == config
    assert config_to_dict(config)["model"] == {"kind": "open_loop", "horizon": 4, "latent_dim": 4, "width": 5}
    given = load_config(SkillTrainingConfig, None, ["data=d", "out=o", "model.kind=recurrent", "model.width=7"])
    assert given.model == RecurrentConfig(width=7)
    for model, message in (
        ({"kind": "open_loop", "norm": "batch"}, r"model\.norm: unknown key"),
        ({"kind": "open_loop", "width": 65}, r"model\.width: must be at most 64"),
        ({"kind": "gmm"}, "unknown skill model 'gmm'; allowed: .*open_loop, recurrent"),
    ):
        with pytest.raises(ConfigError, match=message):
            config_from_dict(SkillTrainingConfig, {**document, "model": model})


def test_without_a_kind_it_is_reskills() -> None:
    """As in configurations and checkpoints from before there were others."""
    assert config_from_dict(SkillModelConfig, {"horizon": 5}) == ReskillModelConfig(horizon=5)
    config = config_from_dict(SkillTrainingConfig, {"data": "d", "out": "o"})
    assert config == SkillTrainingConfig("d", "o")
    assert type(config.model) is ReskillModelConfig
    other = replace(ReskillModelConfig(), kind="other")
    assert other.violations() == ["kind: this is the configuration of 'reskill', got 'other'"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reaching_data(tmp_path_factory.mktemp("data") / "reach")


@pytest.mark.parametrize("kind", ["open_loop", "recurrent"])
def test_a_plug_in_learns_goes_on_and_acts(kind: str, data: Path, tmp_path: Path) -> None:
    model = {"open_loop": OpenLoopConfig, "recurrent": RecurrentConfig}[kind](horizon=4, latent_dim=3)
    whole = train_skills(training_config(data, tmp_path / "whole", model=model, steps=60), show_progress=False)
    assert whole.validation["validation/loss"] < 0.9 * _first_loss(whole.run)
    half = training_config(data, tmp_path / "half", model=model, steps=60)
    with pytest.raises(KeyboardInterrupt):
        _interrupted(half, after=30)
    train_skills(half, show_progress=False)
    weights = [load_checkpoint(tmp_path / name, SKILL_MODULE_KIND).weights for name in ("whole", "half")]
    assert weights[0].keys() == weights[1].keys()
    for name in weights[0]:
        if not name.startswith("graphs/"):
            np.testing.assert_array_equal(weights[0][name], weights[1][name], err_msg=name)
    module = SkillModule.load(whole.run)
    mean, std = module.encode(observations(8).reshape(2, 4, -1), np.zeros((2, 4, 4), np.float32))
    assert mean.shape == std.shape == (2, 3)
    assert (std > 0).all()


def test_images_are_learnt_from_and_acted_on(tmp_path: Path) -> None:
    spec = synthetic_spec(observation_dim=5, images=(ImageFeature("camera", 8, 8, 3, stack=2),))
    with DatasetWriter(tmp_path / "data", spec) as writer:
        writer.add_shard(synthetic_episodes(spec, 20, min_steps=8, max_steps=12))
    model = RecurrentConfig(horizon=4, latent_dim=3)
    run = train_skills(
        training_config(tmp_path / "data", tmp_path / "run", model=model, steps=20), show_progress=False
    ).run
    policy = load_policy(run, latent_source="standard_normal")
    policy.reset([0, 1])
    vectors, shape = np.zeros((2, 5)), (2, *policy.task_spec.obs.images[0].shape)
    dark = policy.act({"vector": vectors, "camera": np.zeros(shape, np.uint8)}).action
    policy.reset([0, 1])
    bright = policy.act({"vector": vectors, "camera": np.full(shape, 255, np.uint8)}).action
    assert np.abs(dark - bright).max() > 1e-4


def test_an_agent_carries_the_graphs_of_its_skills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reskill_core.training.evaluated_run.plot_returns", lambda path, rows: None)
    module = SkillModule.load(save_module(tmp_path / "skills", toy("open_loop")), batch_invariant=False)
    level = PpoConfig(hidden=(8,), epochs=1, minibatch=1000)
    config = AgentTrainingConfig(
        task=TASK.name,
        skills="skills",
        out=str(tmp_path / "agent"),
        steps=96,
        num_envs=4,
        rollout_steps=12,
        threads=1,
        evaluate_every=96,
        agent=AgentConfig(skill_steps=None, high_level=level, low_level=level),
    )
    points = PointMass(4, lambda seed: Ending(12))
    trainer = AgentTrainer(config, [points], TASK, module, lambda policy: {"return": 1.0, "success": 1.0})
    trainer.run(show_progress=False)
    policy = load_policy(tmp_path / "agent")
    assert isinstance(policy.module, SkillModule)
    assert sorted(policy.module.acting_weights) == [f"graphs/{name}" for name in ("act", "begin", "features", "prior")]
    policy.reset([0])
    first, second = policy.act(observations(1)), policy.act(observations(1, seed=1))
    state = policy.module.begin(policy.module.features(observations(1)), first.latent)
    np.testing.assert_allclose(second.decoded_action[0], state[0, 4:8], atol=1e-6)


def _first_loss(run: Path) -> float:
    from reskill_core.training.metrics import read_metrics

    return next(row["train/loss"] for row in read_metrics(run) if "train/loss" in row)


def _interrupted(config: SkillTrainingConfig, after: int) -> None:
    from reskill_core.training.skill_trainer import SkillTrainer

    trainer, made = SkillTrainer(config), 0
    original = trainer.train_step

    def limited(throughput: Any) -> dict[str, float]:
        nonlocal made
        made += 1
        if made > after:
            raise KeyboardInterrupt
        return original(throughput)

    trainer.train_step = limited  # type: ignore[method-assign]
    trainer.run(show_progress=False)


@pytest.mark.parametrize("kind", ["open_loop", "recurrent"])
def test_a_policy_keeps_the_state_of_every_skill(kind: str, tmp_path: Path) -> None:
    """What a policy does in several places, reset at different times, is what the model does window by window."""
    model = toy(kind)
    policy = load_policy(save_module(tmp_path / "skills", model), latent_source="standard_normal")
    policy.reset([1, 2])
    rows = [observations(2, seed=step) for step in range(6)]
    found = []
    for step, now in enumerate(rows):
        if step == 2:  # in the middle of a skill
            policy.reset([3], [1])
        found.append(policy.act(now))
    for place, first in ((0, 0), (1, 2)):
        window = torch.from_numpy(np.stack([rows[first + step][place] for step in range(4)]))[None]
        latent = torch.from_numpy(found[first].latent[[place]])
        with torch.no_grad():
            expected = model.decoder.window(model.features(window), latent)[0].numpy()
        actions = np.stack([found[first + step].action[place] for step in range(4)])
        np.testing.assert_allclose(actions, expected, atol=1e-5)


def test_a_plug_in_acts_without_torch(site: Path, tmp_path: Path) -> None:
    """What its runtime needs is in the checkpoint; only its configuration is imported, from a module without torch."""
    folder = save_module(tmp_path / "skills", toy("open_loop"))
    (tmp_path / "light").mkdir()
    (tmp_path / "light" / "toy_skills.py").write_text(
        "from dataclasses import dataclass\n"
        "from reskill_core.models.config import SkillModelConfig\n"
        "from reskill_core.models.registry import SkillModelKind\n"
        "from reskill_core.parameters import parameter\n"
        "@dataclass(frozen=True)\nclass Config(SkillModelConfig):\n"
        "    kind: str = 'open_loop'\n    width: int = parameter(16, low=1, high=64)\n"
        "OPEN_LOOP = SkillModelKind(Config, 'toy_skills:OpenLoopModel')\n"
    )
    script = f"""
import sys, numpy as np
sys.path[:0] = [{str(site)!r}, {str(tmp_path / "light")!r}]
from reskill_core.runtime import load_policy
policy = load_policy({str(folder)!r})
policy.reset([0])
assert policy.act(np.zeros((1, {TASK.obs.dim}))).action.any()
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
