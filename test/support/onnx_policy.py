"""Policies from exported ONNX files, put together as docs/agents.md says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from reskill_core.runtime.graph import Graph


class OnnxPolicy:
    """A policy of one row, from exported files alone."""

    def __init__(self, folder: Path) -> None:
        self.graphs = {path.stem: Graph(path.read_bytes()) for path in folder.glob("*.onnx")}
        self.policy = json.loads((folder / "policy.json").read_text())
        self._step = 0
        self._hidden: Any = None
        self._actions: list[Any] = []
        self._features: list[Any] = []

    def run(self, graph: str, **inputs: Any) -> list[Any]:
        used = self.graphs[graph].inputs
        return self.graphs[graph].run({name: array for name, array in inputs.items() if name in used})

    def act(self, observation: Any) -> Any:
        policy, phase = self.policy, self._step % self.policy["skill_steps"]
        self._step += 1
        if width := policy["estimator_dim"]:
            zero = np.zeros((1, len(policy["task"]["action"]["components"])), np.float32)
            count = policy["estimator_actions"]
            actions = np.concatenate([*self._actions, *[zero] * count][:count], axis=1)
            hidden = np.zeros((1, width), np.float32) if self._hidden is None else self._hidden
            observation, self._hidden = self.run("estimator", vector=observation, actions=actions, hidden=hidden)
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
        zero = np.zeros((1, len(self.policy["task"]["action"]["components"])), np.float32)
        actions = (self._actions + [zero] * 9)[: memory.get("actions", 0)]
        earlier = self._features + [self._features[-1] if self._features else features] * 9
        return np.concatenate([features, *actions, *earlier[: memory.get("features", 0)]], axis=1)
