"""Specs, observations, rotations, configuration and files, against hand-computed numbers and invariants."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from reskill_core.config import config_from_dict, config_to_dict, load_config, save_config
from reskill_core.errors import ConfigError, DataError, SpecError
from reskill_core.files import atomic_write_json, read_json, replace_link
from reskill_core.observation import ObservationBuilder, SensorFrame
from reskill_core.parameters import parameter
from reskill_core.rl.config import AgentConfig, AgentTrainingConfig, PpoConfig
from reskill_core.rotations import euler_from_quat, matrix_from_quat, rotation_vector_between
from reskill_core.seeding import episode_rng
from reskill_core.spec import (
    ObsSpec,
    TaskSpec,
    frame_term,
    joint_term,
    named_term,
    zeros_term,
)

SPEC = ObsSpec(
    frames=("gripper", "block", "goal"),
    joints=("left", "right"),
    terms=(
        frame_term("gripper_position", "position", "gripper"),
        joint_term("finger_displacement", "joint_displacement", ("right", "left")),
        frame_term("block_relative_position", "relative_position", "block", "gripper"),
        frame_term("block_relative_displacement", "relative_displacement", "block", "gripper"),
        zeros_term("padding", 2),
    ),
)
TASK = TaskSpec("example", SPEC)


def frame(joints: list[float], positions: list[list[float]]) -> SensorFrame:
    quat = np.tile([1.0, 0, 0, 0], (1, len(positions), 1))
    return SensorFrame(np.array([joints]), np.array([positions]), quat)


def test_observation_by_hand() -> None:
    before = frame([0.01, 0.02], [[1, 1, 1], [2, 2, 2], [0, 0, 0]])
    now = frame([0.02, 0.05], [[1, 1, 2], [2, 4, 2], [0, 0, 0]])
    observation = ObservationBuilder(SPEC).build(now, before)
    expected = [1, 1, 2, 0.03, 0.01, 1, 3, 0, 0, 2, -1, 0, 0]
    np.testing.assert_allclose(observation, [expected], atol=1e-15)


def test_named_entries_are_observed_as_they_are_given() -> None:
    spec = ObsSpec((), ("left",), (named_term("heading", 2, "rad"), joint_term("lid", "joint_position", ("left",))))

    def sensed(**named: list[float]) -> SensorFrame:
        values = {name: np.array([value]) for name, value in named.items()}
        return SensorFrame(np.array([[0.5]]), np.zeros((1, 0, 3)), np.zeros((1, 0, 4)), values)

    builder = ObservationBuilder(spec)
    before = sensed(heading=[9.0, 9.0])
    np.testing.assert_array_equal(builder.build(sensed(heading=[1.0, 2.0], other=[7.0]), before), [[1.0, 2.0, 0.5]])
    with pytest.raises(SpecError, match=r"heading has shape \(1, 1\), expected \(1, 2\)"):
        builder.build(sensed(heading=[1.0]), before)
    with pytest.raises(SpecError, match="heading is missing"):
        builder.build(sensed(), before)


def test_observation_refuses_wrong_shapes() -> None:
    short = frame([0.01, 0.02], [[1, 1, 1]])
    with pytest.raises(SpecError, match="frame_pos_w has shape"):
        ObservationBuilder(SPEC).build(short, short)


def test_spec_names_terms_and_alternatives() -> None:
    assert SPEC.dim == 13
    assert SPEC.slice("block_relative_position") == slice(5, 8)
    assert SPEC.objects == ("block",)
    with pytest.raises(SpecError, match=r"no observation term 'blok'.*block_relative_position"):
        SPEC.slice("blok")


def test_task_spec_round_trip_and_differences() -> None:
    assert TaskSpec.from_dict(TASK.to_dict()) == TASK
    other = TaskSpec("example", SPEC, control_period_s=0.02, horizon=7)
    assert TASK.differences(other) == ["control_period_s: 0.04 != 0.02", "horizon: 50 != 7"]
    assert TASK.interface_differences(other) == ["control_period_s: 0.04 != 0.02"]


def test_euler_of_known_rotations() -> None:
    half = np.sqrt(0.5)
    quats = np.array([[1, 0, 0, 0], [half, half, 0, 0], [half, 0, 0, half]])
    expected = np.array([[0, 0, 0], [np.pi / 2, 0, 0], [0, 0, np.pi / 2]])
    np.testing.assert_allclose(euler_from_quat(quats), expected, atol=1e-12)


@given(npst.arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_euler_rebuilds_the_matrix(quat: np.ndarray) -> None:
    quat = quat / np.linalg.norm(quat)
    e0, e1, e2 = euler_from_quat(quat)
    if abs(np.cos(e1)) < 1e-6:
        return

    def about(axis: int, angle: float) -> np.ndarray:
        return matrix_from_quat(np.concatenate([[np.cos(angle / 2)], np.sin(angle / 2) * np.eye(3)[axis]]))

    np.testing.assert_allclose(about(0, e0) @ about(1, e1) @ about(2, e2), matrix_from_quat(quat), atol=1e-9)


def test_rotation_vector_is_short_and_in_the_world_frame() -> None:
    start = np.array([np.cos(0.3), np.sin(0.3), 0, 0])
    turned = np.array([np.cos(0.35), np.sin(0.35), 0, 0])
    np.testing.assert_allclose(rotation_vector_between(start, turned), [0.1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(rotation_vector_between(start, -turned), [0.1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(rotation_vector_between(start, start), [0, 0, 0], atol=1e-12)


def test_streams_of_an_episode_are_independent_and_repeatable() -> None:
    assert episode_rng(3, "reset").random() == episode_rng(3, "reset").random()
    draws = {episode_rng(seed, stream).random() for seed in (3, 4) for stream in ("reset", "demonstrator", "policy")}
    assert len(draws) == 6


@dataclass(frozen=True)
class Inner:
    learning_rate: float = parameter(1e-3, low=1e-9, high=1.0)
    sizes: tuple[int, ...] = parameter((64, 32), low=1, high=100)


@dataclass(frozen=True)
class Outer:
    steps: int = parameter(10, low=1, high=10**9)
    warmup: int = parameter(0, low=0, high=10**9)
    inner: Inner = field(default_factory=Inner)

    def violations(self) -> list[str]:
        return [f"warmup {self.warmup} exceeds steps {self.steps}"] if self.warmup > self.steps else []


def test_config_file_overrides_and_round_trip(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("steps: 20\ninner: {sizes: [8]}\n")
    config = load_config(Outer, tmp_path / "c.yaml", ["inner.learning_rate=1e-2", "warmup=3"])
    assert config == Outer(20, 3, Inner(0.01, (8,)))
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(Outer, tmp_path / "saved.yaml") == config
    assert config_from_dict(Outer, config_to_dict(config)) == config


def test_a_section_given_in_part_keeps_the_rest_of_its_own_default() -> None:
    config = load_config(AgentTrainingConfig, None, ["task=t", "skills=s", "out=o", "agent.low_level.minibatch=256"])
    assert config.agent.low_level == replace(cast(PpoConfig, AgentConfig().low_level), minibatch=256)
    assert config.agent.high_level == AgentConfig().high_level


def test_config_reports_every_fault_with_its_path() -> None:
    with pytest.raises(ConfigError, match=r"(?s)inner\.learning_rat: unknown key; did you mean inner\.learning_rate"):
        load_config(Outer, None, ["inner.learning_rat=1"])
    with pytest.raises(ConfigError, match=r"(?s)steps: .*'many'.*inner\.learning_rate: .*'fast'"):
        load_config(Outer, None, ["steps=many", "inner.learning_rate=fast"])
    with pytest.raises(ConfigError, match="warmup 30 exceeds steps 10"):
        load_config(Outer, None, ["warmup=30"])
    with pytest.raises(ConfigError, match=r"cannot read nowhere\.yaml: No such file"):
        load_config(Outer, "nowhere.yaml")
    with pytest.raises(ConfigError, match=r"key\.subkey=value"):
        load_config(Outer, None, ["steps"])


def test_json_files_are_whole_bounded_and_named_when_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic_write_json(path, {"x": [1, 2]})
    assert read_json(path, DataError) == {"x": [1, 2]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    with pytest.raises(DataError, match="more than 4 are not accepted"):
        read_json(path, DataError, max_bytes=4)
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"a\.json is not valid JSON"):
        read_json(path, DataError)


def test_links_move_atomically(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        replace_link(tmp_path / "last", name)
        assert (tmp_path / "last").resolve().name == name
