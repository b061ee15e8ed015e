"""Kitchen and maze as graphs: in lockstep to the last bit as in process, recorded, and replayed from bags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from graph_runs import assert_equal_to_the_last_bit, in_process, run_graph
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray

from reskill_core.checkpoint import save_checkpoint
from reskill_core.config import config_from_dict
from reskill_core.data import DemoDataset
from reskill_core.models.io import module_contents
from reskill_core.models.registry import skill_model_kind
from reskill_core.runtime import load_policy
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_ros.recording.bag import BagReader
from reskill_sim.engine.task import Task
from reskill_sim.families import get_task


def untrained_spirl(folder: Path, task: Task, **sections: Mapping[str, Any]) -> Path:
    """A small skill module that has learnt nothing."""
    import torch

    document = {"kind": "spirl", "decoder": {"hidden": [16]}, "encoder": {"hidden": [16]}, **sections}
    torch.manual_seed(3)
    kind = skill_model_kind(document)
    observations = np.random.default_rng(0).standard_normal((64, task.spec.obs.dim)).astype(np.float32)
    model = kind.load_model().fitted(config_from_dict(kind.config, document), task.spec, observations)
    return save_checkpoint(folder, SKILL_MODULE_KIND, *module_contents(model, task.spec))


def run_recorded(folder: Path, task: Task, skills: Path, seed: int, composed: str = "false") -> dict[str, list[bytes]]:
    """Run an episode as a graph; compare it with the one in process, and replay it.

    Returns:
        Serialised messages of the bag, by topic.
    """
    given = {"task": task.spec.name, "skills": skills, "pacing": "lockstep", "episodes": 1, "seed": seed}
    run_graph("policy", folder, **given, composed=composed, dataset=folder / "data", bag=folder / "bag")
    dataset, policy = DemoDataset.open(folder / "data"), load_policy(skills)
    policy.reset([0])
    expected = in_process(task.make_env(), policy, [seed], lambda place: (policy.description, 0.0))
    assert_equal_to_the_last_bit(dataset, expected)
    assert dataset.worlds[0].settings == task.spec.settings
    run_graph("replay", folder, bag=folder / "bag", skills=skills, report=folder / "report.json")
    report = json.loads((folder / "report.json").read_text())
    assert (report["equal"], report["complete"], report["compared"]) == (True, True, dataset.num_steps + 1)
    messages: dict[str, list[bytes]] = {}
    for message in BagReader(folder / "bag").messages():
        messages.setdefault(message.topic, []).append(message.data)
    return messages


def test_a_chain_of_subtasks_is_demonstrated(tmp_path: Path) -> None:
    """The demonstrator is told the settings, too: it does the subtasks of the task, in their order."""
    settings = "{subtasks: [kettle, light_switch], ordered: true}"
    given = {"task": "kitchen", "task_settings": settings, "seed": 5, "episodes": 1, "keep_failures": "true"}
    run_graph("collect", tmp_path, **given, profile="fast", dataset=tmp_path / "data")
    task = get_task("kitchen", settings={"subtasks": ["kettle", "light_switch"], "ordered": True})
    demonstrator = task.family.make_demonstrator("kitchen", settings=task.spec.settings)
    expected = in_process(
        task.make_env(profile="fast"),
        demonstrator,
        [5],
        lambda place: (demonstrator.source(place), float(demonstrator.noise_scale[place])),
    )
    assert_equal_to_the_last_bit(DemoDataset.open(tmp_path / "data"), expected)


def test_a_kitchen_is_driven_by_joint_velocities(tmp_path: Path) -> None:
    """As an array that ros2_control's forward velocity controllers take, with the names of a Franka's joints."""
    task = get_task("kitchen", settings={"subtasks": ["kettle", "microwave"], "ordered": True})
    skills = untrained_spirl(tmp_path / "skills", task, prior={"hidden": [16], "kind": "gaussian"})
    messages = run_recorded(tmp_path, task, skills, seed=4)
    [names] = {tuple(deserialize_message(data, JointState).name) for data in messages["/joint_states"]}
    assert names == task.family.joint_names
    episode = DemoDataset.open(tmp_path / "data").episode(0)
    setpoints = [deserialize_message(data, Float64MultiArray) for data in messages["/command/setpoints"]]
    velocities = {tuple(setpoint.data) for setpoint in setpoints}
    commanded = task.spec.action.to_command(episode.executed_action.astype(np.float64))
    assert {tuple(command) for command in commanded.tolist()} <= velocities


def test_a_planar_base_sees_and_drives(tmp_path: Path) -> None:
    """By pictures, and a twist that moves it along x and y."""
    near = {"layout_seed": 3, "size": 12, "goal_radius_m": 2.0}
    task = get_task("maze_images", settings=near)
    skills = untrained_spirl(
        tmp_path / "skills",
        task,
        prior={"hidden": [16], "kind": "gaussian", "inputs": ["camera"]},
        images={"channels": 2, "features": 4},
    )
    # In one process, observation_node hands pictures on as well.
    messages = run_recorded(tmp_path, task, skills, seed=seed_of_a_short_episode(task, skills), composed="true")
    episode = DemoDataset.open(tmp_path / "data").episode(0)
    assert episode.success
    frames = episode.images["camera"].array()
    pictures = [deserialize_message(data, Image) for data in messages["/observation/images/camera"]]
    assert {bytes(picture.data) for picture in pictures} == {frame.tobytes() for frame in frames}
    twists = [deserialize_message(data, TwistStamped).twist.linear for data in messages["/command/twist"]]
    commanded = task.spec.action.to_command(episode.executed_action.astype(np.float64))
    assert {tuple(command) for command in commanded.tolist()} <= {(twist.x, twist.y) for twist in twists}
    assert {twist.z for twist in twists} == {0.0}


def seed_of_a_short_episode(task: Task, skills: Path) -> int:
    """The seed with which the untrained skills happen to come near the goal first."""
    environment, policy = task.make_env(32), load_policy(skills)
    seeds = np.arange(32)
    observation = environment.reset(seeds.tolist())
    policy.reset(seeds.tolist())
    for _ in range(200):
        result = environment.step(policy.act(observation).action)
        if result.success.any():
            return int(np.flatnonzero(result.success)[0])
        observation = result.observation
    raise AssertionError("no episode is short")
