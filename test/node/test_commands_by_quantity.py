"""What adapters tell a driver about each quantity, and what the simulated robot makes of it."""

from __future__ import annotations

import math
from array import array
from dataclasses import replace
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped
from other_family import plane_world  # noqa: F401 - a fixture
from rclpy.node import Node
from ros_graph import Graph, MakeGraph
from std_msgs.msg import Float64MultiArray

from reskill_core.errors import SpecError
from reskill_core.sensing import JointSource, MessageError, SensingConfig
from reskill_core.spec import TaskSpec
from reskill_ros.drivers.adapters import Adapter, Channel, make_adapter
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.plumbing import convert
from reskill_ros.simulation.command_buffer import CommandBuffer, Setpoint
from reskill_ros.simulation.simulated_robot import SimulatedRobot
from reskill_sim.families import get_task

pytestmark = pytest.mark.usefixtures("plane_world")
STAMP = Time(sec=3, nanosec=5)
WHEELS = ("left_wheel", "mast", "right_wheel", "light")


class Driver:
    """The ears of a driver."""

    def __init__(self, graph: Graph, task: TaskSpec, options: dict[str, Any], sensing: SensingConfig) -> None:
        self.graph = graph
        self.twists = graph.listen(TwistStamped, "command/twist")
        self.arrays = graph.listen(Float64MultiArray, "command/positions")
        node = graph.add(Node("commander"))
        self.adapter: Adapter = make_adapter("by_quantity", Channel(node, task, sensing), options)
        topics = {publisher.topic_name for publisher in self.adapter.publishers}
        self.topics = {topic.lstrip("/") for topic in topics}
        for publisher in self.adapter.publishers:
            graph.spin_until(publisher.get_subscription_count, "the driver's ears")

    def array(self, count: int) -> dict[str, float]:
        """The newest array, once there have been so many."""
        self.graph.spin_until(lambda: len(self.arrays) >= count, "an array")
        return convert.array_values(self.arrays[-1], WHEELS)


def make_driver(make_graph: MakeGraph, name: str, setpoints: dict[str, Any] | None = None, **sensing: Any) -> Driver:
    options = {"array": {"quantity": "velocity", **(setpoints or {})}}
    return Driver(make_graph(), get_task(name).spec, options, SensingConfig(**sensing))


def test_joints_are_commanded_as_the_driver_counts_them_and_raw_numbers_as_they_are(make_graph: MakeGraph) -> None:
    """By hand: the scales are 3.1 and 3.3 rad/s, 0.7 rad and 11; the right wheel and the mast turn the other way."""
    joints = {"right_wheel": JointSource(sign=-1.0), "mast": JointSource(sign=-1.0, offset=0.2)}
    driver = make_driver(make_graph, "plane_roll", {"stamp": "observation"}, joints=joints)
    assert driver.topics == {"command/positions"}
    driver.adapter.send([1.0, 0.5, 0.5, -1.0], STAMP, [0.0, 0.1, 0.0, 0.0])
    assert driver.array(1) == pytest.approx({"left_wheel": 3.1, "mast": -0.15, "right_wheel": -1.65, "light": -11.0})
    assert convert.array_stamp_ns(driver.arrays[-1]) == 3_000_000_005


def test_standing_still_is_no_velocity_and_the_measured_position(make_graph: MakeGraph) -> None:
    driver = make_driver(make_graph, "plane_roll")
    assert driver.adapter.needs_feedback
    measured = [7.0, 0.1, 8.0, 0.0]
    driver.adapter.hold(measured)
    driver.adapter.send([1.0, 1.0, 1.0, 1.0], STAMP, measured)
    assert driver.array(1)["mast"] == pytest.approx(0.7), "nothing was sent to a driver that had not been moved"
    driver.adapter.hold(measured)
    assert driver.array(2) == {"left_wheel": 0.0, "mast": 0.1, "right_wheel": 0.0, "light": 0.0}
    assert convert.array_stamp_ns(driver.arrays[-1]) == 0


def test_wheels_may_be_commanded_by_place(make_graph: MakeGraph) -> None:
    """A tenth of a second at 3.1 rad/s from 7 rad; without knowing where they are, nothing."""
    driver = make_driver(make_graph, "plane_roll", {"quantity": "position"})
    driver.adapter.send([1.0, 0.0, 0.0, 0.0], STAMP, None)
    driver.adapter.send([1.0, 0.0, 0.0, 1.0], STAMP, [7.0, 0.1, 8.0, 0.0])
    expected = {"left_wheel": 7.31, "mast": 0.0, "right_wheel": 8.0, "light": 11.0}
    assert driver.array(1) == pytest.approx(expected)


def test_an_end_effector_in_the_plane_stands_still_along_the_third_axis(make_graph: MakeGraph) -> None:
    """The action is y, then x; the base is turned to the left by 90 degrees: the world's x is its y backwards."""
    turned = (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5))
    driver = make_driver(make_graph, "plane_reach", base_quat_wxyz=turned)
    assert driver.topics == {"command/twist"}
    driver.adapter.send([1.0, 0.5], STAMP, None)
    driver.graph.spin_until(lambda: driver.twists, "a twist")
    assert convert.twist_velocity(driver.twists[-1]) == pytest.approx((0.75, -0.65, 0.0))


def test_a_franka_takes_joint_velocities_as_one_array(make_graph: MakeGraph) -> None:
    """With the shipped driver file, in the order of the joints, in rad/s and m/s; the safe command is zero."""
    task, driver, graph = get_task("kitchen").spec, load_driver("franka"), make_graph()
    arrays = graph.listen(Float64MultiArray, "forward_velocity_controller/commands")
    channel = Channel(graph.add(Node("commander")), task, driver.sensing)
    adapter = make_adapter(driver.command.adapter, channel, driver.command.options)
    graph.spin_until(adapter.publishers[0].get_subscription_count, "the controller")
    assert not adapter.needs_feedback
    adapter.send([0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7, 0.01, -0.01], STAMP, None)
    graph.spin_until(lambda: len(arrays) >= 1, "velocities")
    assert list(arrays[0].data) == pytest.approx([0.2, -0.4, 0.6, -0.8, 1.0, -1.2, 1.4, 0.02, -0.02])
    adapter.hold(None)
    graph.spin_until(lambda: len(arrays) >= 2, "the stop")
    assert list(arrays[1].data) == [0.0] * 9
    driver.require_joints(task.obs.joints)


def test_a_planar_base_takes_a_twist(make_graph: MakeGraph) -> None:
    """With the shipped driver file, without a stamp; a base that is turned by 90 degrees drives along its own axes."""
    task, driver, graph = get_task("maze_images").spec, load_driver("planar_base"), make_graph()
    twists = graph.listen(Twist, "cmd_vel")
    turned = replace(driver.sensing, base_quat_wxyz=(math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)))
    channel = Channel(graph.add(Node("commander")), task, turned)
    adapter = make_adapter(driver.command.adapter, channel, driver.command.options)
    graph.spin_until(adapter.publishers[0].get_subscription_count, "the base")
    adapter.send([0.1, 0.2], STAMP, None)
    graph.spin_until(lambda: len(twists) >= 1, "a velocity")
    assert (twists[0].linear.x, twists[0].linear.y) == pytest.approx((1.0, -0.5))
    adapter.hold(None)
    graph.spin_until(lambda: len(twists) >= 2, "the stop")
    assert twists[1] == Twist()
    driver.require_joints(task.obs.joints)


def test_an_array_does_not_turn_out_of_its_plane(make_graph: MakeGraph) -> None:
    """About x, the world's y would be the driver's z, which no number of the array commands."""
    turned = (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)
    node = make_graph().add(Node("commander"))
    channel = Channel(node, get_task("plane_reach").spec, SensingConfig(base_quat_wxyz=turned))
    with pytest.raises(SpecError, match="along an axis that none of them commands"):
        make_adapter("cartesian_forward", channel, {"quantity": "velocity"})


# ---------------------------------------------------------------------- the simulated robot


def test_a_component_without_a_setpoint_stands_still() -> None:
    robot = SimulatedRobot("plane_roll")
    robot.advance({"mast": Setpoint(0.35, is_place=True), "left_wheel": Setpoint(3.1), "light": Setpoint(11.0)})
    (left, right, mast), before = robot.joints[1].tolist(), robot.env.state()[0]
    assert (mast, before[9]) == (pytest.approx(0.35), 11.0)
    robot.advance({})
    assert robot.joints[1].tolist() == [left, right, pytest.approx(mast)]
    assert robot.env.state()[0][9] == 0.0
    robot.advance({"right_wheel": Setpoint(right + 0.1, is_place=True)})
    assert robot.joints[1].tolist() == [left, pytest.approx(right + 0.1), pytest.approx(mast)]
    assert robot.step == 3


def test_an_answer_is_complete_and_of_one_state() -> None:
    buffer = CommandBuffer()
    buffer.take({"x": Setpoint(1.0)}, 7, 0.0)
    assert buffer.pop_answer(7, ("x", "y")) is None
    buffer.take({"y": Setpoint(2.0)}, 6, 0.0)
    assert buffer.pop_answer(7, ("x", "y")) is None
    buffer.take({"y": Setpoint(3.0)}, 7, 0.0)
    assert buffer.pop_answer(7, ("x", "y")) == {"x": Setpoint(1.0), "y": Setpoint(3.0)}
    assert buffer.pop_answer(7, ("x", "y")) is None, "it is given once"


def test_in_real_time_old_velocities_are_dropped_and_places_stay() -> None:
    buffer = CommandBuffer()
    buffer.take({"x": Setpoint(1.0), "mast": Setpoint(2.0, is_place=True)}, 50, 10.0)
    assert buffer.newest(50, 10.0).keys() == {"x", "mast"}
    assert buffer.newest(50, 10.1).keys() == {"mast"}
    assert not buffer.newest(51, 0.0)


@pytest.mark.parametrize(
    ("labels", "data", "reason"),
    [
        (("left_wheel", "roof"), (1.0, 2.0), "unknown_component"),
        ((), (1.0, 2.0), "length_mismatch"),
        (("light",), (math.inf,), "non_finite"),
    ],
)
def test_arrays_that_command_something_else_are_refused(labels: Any, data: Any, reason: str) -> None:
    message = convert.labelled_array(labels)
    message.data = array("d", data)
    with pytest.raises(MessageError) as caught:
        convert.array_values(message, WHEELS)
    assert caught.value.reason == reason


def test_a_stamp_in_an_array_is_a_number() -> None:
    message = convert.labelled_array(("light",))
    assert convert.array_stamp_ns(message) == 0
    for seconds in (1, 2):
        convert.set_array_stamp(message, Time(sec=seconds))
    assert convert.array_stamp_ns(message) == 2_000_000_000
    assert convert.array_values(message, WHEELS) == {"light": 0.0}
    message.layout.dim[-1].label = "stamp_ns=soon"
    with pytest.raises(MessageError, match="stamp 'soon'"):
        convert.array_stamp_ns(message)
