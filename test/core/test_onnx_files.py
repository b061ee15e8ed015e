"""ONNX files of policies act as the policies themselves, put together as docs/agents.md says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reskill_core.errors import CheckpointError
from reskill_core.rl.actor import Decision
from reskill_core.runtime.graph import Graph
from reskill_core.runtime.loading import load_policy
from reskill_core.runtime.skill_policy import SkillPolicy
from reskill_core.training import onnx_files
from reskill_core.training.export import ONNX_FOLDER, export_run


class _Files:
    """A policy of one row, from exported files alone."""

    def __init__(self, folder: Path) -> None:
        self.graphs = {path.stem: Graph(path.read_bytes()) for path in folder.glob("*.onnx")}
        self.policy = json.loads((folder / "policy.json").read_text())
        self._step = 0
        self._actions: list[Any] = []
        self._features: list[Any] = []

    def run(self, graph: str, **inputs: Any) -> list[Any]:
        used = self.graphs[graph].inputs
        return self.graphs[graph].run({name: array for name, array in inputs.items() if name in used})

    def act(self, observation: Any) -> Any:
        policy, phase = self.policy, self._step % self.policy["skill_steps"]
        self._step += 1
        (plain,) = self.run("features", vector=observation)
        features = self._with_memory(plain)
        if phase == 0:
            (noise,) = self.run("high_level", features=features)
            noise = np.clip(noise, -policy["noise_limit"], policy["noise_limit"])
            assert policy["latent_source"] == "prior"
            (self._latent,) = self.run("prior", noise=noise, features=plain)
            (self._state,) = self.run("begin", features=plain, latent=self._latent)
        action, self._state = self.run("act", features=plain, state=self._state)
        weight = policy["residual_weight"]
        last = np.array([[phase / policy["skill_steps"], weight]], np.float32)
        inputs = np.concatenate((features, self._latent, action, last), axis=1)
        (correction,) = self.run("residual", inputs=inputs)
        action = np.clip(action + np.float32(weight) * correction, -1, 1)
        self._actions.insert(0, action)
        self._features.insert(0, plain)
        return action

    def _with_memory(self, features: Any) -> Any:
        """Zero actions before the first step, and the first features again."""
        memory = self.policy["memory"]
        zero = np.zeros((1, len(self.policy["task"]["action"])), np.float32)
        actions = (self._actions + [zero] * 9)[: memory.get("actions", 0)]
        earlier = self._features + [self._features[-1] if self._features else features] * 9
        return np.concatenate([features, *actions, *earlier[: memory.get("features", 0)]], axis=1)


def test_files_of_an_agent_act_as_the_agent_does(tmp_path: Path) -> None:
    paths = export_run("agents/pyramid_stack", tmp_path / "out", onnx=True)
    files = _Files(tmp_path / "out" / ONNX_FOLDER)
    assert {path.parent.name for path in paths if path.suffix == ".onnx"} == {ONNX_FOLDER}
    policy = load_policy(tmp_path / "out")
    assert files.policy["checkpoint"] == policy.checkpoint.sha256
    policy.reset([0])
    rng = np.random.default_rng(0)
    for _ in range(2 * policy.skill_steps + 1):
        observation = rng.normal(size=(1, policy.task_spec.obs.dim)).astype(np.float32)
        np.testing.assert_allclose(files.act(observation), policy.act(observation).action, atol=1e-4)


def test_skills_alone_have_no_high_level(tmp_path: Path) -> None:
    export_run("skills/block", tmp_path / "out", onnx=True)
    names = {path.stem for path in (tmp_path / "out" / ONNX_FOLDER).glob("*.onnx")}
    assert names == {"features", "prior", "begin", "act"}


def test_an_actor_without_a_network_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Still:
        def act(self, inputs: Any, draws: Any = None) -> Decision:
            return Decision(np.zeros((len(inputs), 4), np.float32), None)

    def with_another_actor(*_: Any, **__: Any) -> SkillPolicy:
        policy = load_policy("agents/clean_up")
        policy.residual = Still()
        return policy

    monkeypatch.setattr(onnx_files, "agent_policy", with_another_actor)
    with pytest.raises(CheckpointError, match="actor of type Still has no ONNX graph"):
        export_run("agents/clean_up", tmp_path / "out", onnx=True)
    assert not (tmp_path / "out").exists()
