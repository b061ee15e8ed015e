"""Live view: what is shown, as markers and as a page."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from array import array
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from builtin_interfaces.msg import Time
from command_bench import write_driver
from diagnostic_msgs.msg import DiagnosticStatus
from ros_graph import MakeGraph
from visualization_msgs.msg import Marker, MarkerArray

from reskill_core.errors import GraphError
from reskill_core.frames import RigidTransform
from reskill_core.gate import GateConfig
from reskill_core.resources import config_folder
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.nodes.viewer_node import ViewerNode
from reskill_ros.plumbing import qos
from reskill_ros.viewer.markers import markers
from reskill_ros.viewer.page_server import PageServer
from reskill_ros.viewer.scene import Scene, skill_colour
from reskill_sim.families import get_task
from reskill_sim.maze.constants import POSITION

TASK = get_task("block").spec
BOX = GateConfig(workspace_low=(1.0, 0.5, 0.4), workspace_high=(1.5, 1.0, 0.8))


def observation(gripper: float) -> Any:
    vector = np.zeros(TASK.obs.dim)
    vector[TASK.obs.slice("gripper_position")] = [gripper, 0.7, 0.5]
    vector[TASK.obs.slice("goal_position")] = [1.4, 0.8, 0.425]
    return vector


def shown() -> Scene:
    scene = Scene(TASK, BOX)
    for step, skill in enumerate(([0.1, 0.2], [0.1, 0.2], [0.3, 0.4])):
        scene.act([0.5, 0.0, 0.0, -1.0], skill)
        scene.observe(observation(1.1 + 0.1 * step), 4, step)
    scene.states["command"] = "active"
    return scene


def test_a_path_has_the_colours_of_its_skills_and_begins_anew_with_each_episode() -> None:
    scene = shown()
    assert [place.point for place in scene.path] == [(1.1, 0.7, 0.5), (1.2, 0.7, 0.5), (1.3, 0.7, 0.5)]
    first, second, third = (place.colour for place in scene.path)
    assert first == second == skill_colour([0.1, 0.2])
    assert third == skill_colour([0.3, 0.4]) != first
    assert scene.frames["goal"] == (1.4, 0.8, 0.425)
    scene.observe(observation(1.0), 5, 0)
    assert len(scene.path) == 1
    assert not scene.actions


def test_a_base_in_the_plane_is_shown_at_height_zero() -> None:
    spec = get_task("maze").spec
    scene = Scene(spec, GateConfig())
    vector = np.arange(spec.obs.dim, dtype=np.float64)
    scene.observe(vector, 0, 0)
    assert scene.frames["base"] == (*vector[spec.obs.slice(POSITION)], 0.0)


def test_markers_are_in_the_drivers_frame() -> None:
    """By hand: the base stands at (1, 0.5, 0.4) in the world, turned by nothing."""
    array_ = markers(shown(), Time(sec=3), "base_link", RigidTransform((1.0, 0.5, 0.4)).inverse)
    by_name = {marker.ns: marker for marker in array_.markers}
    assert len({marker.id for marker in array_.markers}) == len(array_.markers)
    assert {marker.header.frame_id for marker in array_.markers} == {"base_link"}
    place = by_name["gripper"].pose.position
    assert (place.x, place.y, place.z) == pytest.approx((0.3, 0.2, 0.1))
    path = by_name["path"]
    assert [point.x for point in path.points] == pytest.approx([0.1, 0.2, 0.3])
    assert len(path.colors) == 3
    box = by_name["workspace"]
    assert (box.type, len(box.points)) == (Marker.LINE_LIST, 24)
    assert {(round(p.x, 6), round(p.y, 6), round(p.z, 6)) for p in box.points} == {
        (x, y, z) for x in (0.0, 0.5) for y in (0.0, 0.5) for z in (0.0, 0.4)
    }
    lengths = [
        abs(a.x - b.x) + abs(a.y - b.y) + abs(a.z - b.z) for a, b in zip(box.points[::2], box.points[1::2], strict=True)
    ]
    assert sorted(lengths) == pytest.approx([0.4] * 4 + [0.5] * 8)
    assert by_name["state"].text == "command active"


def test_the_page_and_its_stream() -> None:
    server, ended = PageServer("127.0.0.1", 0), threading.Event()
    try:
        with urllib.request.urlopen(server.url) as page:
            assert b"EventSource" in page.read()
        with pytest.raises(HTTPError):
            urllib.request.urlopen(f"{server.url}etc/passwd")
        with urllib.request.urlopen(f"{server.url}events", timeout=60) as stream:
            server.publish('{"step": 1}')
            assert stream.readline() == b'data: {"step": 1}\n'

            def until_the_end() -> None:
                stream.read()
                ended.set()

            reader = threading.Thread(target=until_the_end)
            reader.start()
            server.close()
            assert ended.wait(60), "streams end with the server"
            reader.join()
    finally:
        if not ended.is_set():
            server.close()
    with pytest.raises(GraphError, match=r"cannot be served on 256\.0\.0\.1"):
        PageServer("256.0.0.1", 0)


def test_the_node_shows_what_happens(make_graph: MakeGraph, tmp_path: Path) -> None:
    driver = write_driver(tmp_path, workspace_low=[1.0, 0.5, 0.4], workspace_high=[1.5, 1.0, 0.8])
    graph = make_graph(viewer_node={"driver": driver, "port": 0})
    seen = graph.listen(MarkerArray, "markers")
    node = graph.add(ViewerNode())
    graph.publisher(DiagnosticStatus, "command/status", qos.LATCHED).publish(DiagnosticStatus(message="active"))
    observations, actions = graph.publisher(Observation, "observation"), graph.publisher(SkillAction, "skill_action")
    with urllib.request.urlopen(f"{node.page.url}events", timeout=60) as stream:

        def moving() -> bool:
            actions.publish(SkillAction(action=array("f", [0.5, 0, 0, -1]), latent=array("f", [0.1, 0.2])))
            observations.publish(Observation(task="block", episode_id=4, values=array("d", observation(1.2))))
            graph.spin_for(0.02)
            return bool(seen) and "command" in node.scene.states and len(node.scene.actions) > 0

        graph.spin_until(moving, "markers")
        text = next(line for line in stream if line.startswith(b"data: "))
    document = json.loads(text.removeprefix(b"data: "))
    assert document["frames"]["gripper"] == [1.2, 0.7, 0.5]
    assert document["components"] == ["x", "y", "z", "gripper"]
    assert document["box"] == [[1.0, 0.5, 0.4], [1.5, 1.0, 0.8]]
    observations.publish(Observation(task="hook", values=array("d", observation(9.0))))
    graph.spin_for(0.1)
    assert node.scene.frames["gripper"][0] == 1.2


def test_layouts_of_other_viewers_show_topics_and_fields_that_there_are() -> None:
    """Against the page of all interfaces, and the definitions of the messages."""
    folder = config_folder() / "viewers"
    rviz = yaml.safe_load((folder / "reskill.rviz").read_text())
    displays = {item["Name"]: item for item in rviz["Visualization Manager"]["Displays"]}
    topics = {displays["Run"]["Topic"]["Value"], displays["Robot"]["Description Topic"]["Value"]}
    foxglove = json.loads((folder / "foxglove.json").read_text())
    topics |= {topic.lstrip("/") for topic in foxglove["configById"]["3D!reskill"]["topics"]}
    curves = [item.get("name", "") for item in ElementTree.parse(folder / "plotjuggler.xml").iter("curve")]
    fields = [re.split(r"[/.]", name.strip("/"))[:2] for name in curves]
    fields += [path["value"].strip("/").split(".") for path in foxglove["configById"]["Plot!actions"]["paths"]]
    assert len(fields) == 14
    for topic, field in fields:
        assert field.partition("[")[0] in SkillAction.get_fields_and_field_types()
        topics.add(topic)
    page = (Path(__file__).parents[2] / "docs/ros_interface.md").read_text()
    # Published by robot_state_publisher.
    assert [topic for topic in topics - {"robot_description"} if f"| `{topic}` |" not in page] == []
    services = {item["serviceName"] for name, item in foxglove["configById"].items() if name.startswith("CallService")}
    assert services == {"/command_node/arm", "/command_node/stop"}
