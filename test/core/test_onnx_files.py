"""ONNX files of policies act as the policies themselves, put together as docs/agents.md says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_policy import OnnxPolicy

from reskill_core.errors import CheckpointError
from reskill_core.rl.actor import Decision
from reskill_core.runtime.loading import load_policy
from reskill_core.runtime.skill_policy import SkillPolicy
from reskill_core.training import onnx_files
from reskill_core.training.export import ONNX_FOLDER, export_run


def test_files_of_an_agent_act_as_the_agent_does(tmp_path: Path) -> None:
    paths = export_run("agents/pyramid_stack", tmp_path / "out", onnx=True)
    files = OnnxPolicy(tmp_path / "out" / ONNX_FOLDER)
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
