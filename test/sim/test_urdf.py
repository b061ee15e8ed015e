"""URDF of simulated robots: read again, it is the same robot in the same places."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlparse
from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from reskill_core.errors import SimulationError
from reskill_core.kinematics import KinematicsConfig
from reskill_core.rotations import matrix_from_quat
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.task import SimulatedTask
from reskill_sim.engine.urdf import robot_urdf
from reskill_sim.families import get_task
from reskill_sim.fetch.constants import ARM_JOINTS
from reskill_sim.fetch.kinematics import GripperKinematics
from reskill_sim.kinematics import load_arm

# A robot with all that a URDF has to express in other words: two joints of one body, an anchor that is not the
# body's origin, a zero that is not where the model is drawn, a joint that is not the driver's, one without limits, a
# capsule. The ball is not part of it.
ODD = """<mujoco><compiler angle="radian"/><worldbody>
<body name="r:base" pos="0.1 0.2 0.3" quat="0.6 0 0.8 0">
 <joint name="r:lift" type="slide" axis="0 0 1" ref="0.2" range="0.1 0.5"/>
 <joint name="r:turn" axis="0 1 0" pos="0.05 0 0.1" ref="0.4" range="-1 2" actuatorfrcrange="-7 7"/>
 <geom type="box" size="0.1 0.2 0.3" mass="2" pos="0 0.1 0" euler="0.3 0.4 0.5" rgba="1 0 0 1"/>
 <body name="r:fixed" pos="0 0 0.4" quat="0.5 0.5 0.5 0.5">
  <joint name="r:loose" axis="1 0 0" pos="0 0.02 0"/><geom size="0.01" mass="0.1" group="3"/>
  <body name="r:tip" pos="0.3 0 0"><joint name="r:spin" axis="0 0.6 0.8"/>
   <geom type="capsule" size="0.02 0.1" mass="0.5"/><geom type="ellipsoid" size="0.1 0.2 0.3" mass="0"/></body>
 </body>
</body>
<body name="ball"><freejoint name="ball"/><geom size="0.1"/></body>
</worldbody></mujoco>"""
OURS = {"r:lift": "lift", "r:turn": "turn", "r:spin": "spin"}


def simulator(name: str, profile: str = "exact") -> Simulator:
    task = get_task(name)
    assert isinstance(task, SimulatedTask)
    return Simulator(task, profile=profile)


def odd_urdf(model: mujoco.MjModel, qpos: NDArray[np.float64]) -> str:
    return robot_urdf(model, qpos, OURS, lambda name: name.removeprefix("r:"))


def read_again(urdf: str, looks: bool = False) -> mujoco.MjModel:
    """MuJoCo's model of a URDF, every link a body of its own; with its visual parts if ``looks``."""
    robot = ElementTree.fromstring(urdf)
    for mesh in robot.iter("mesh"):
        mesh.set("filename", unquote(urlparse(mesh.attrib["filename"]).path))
    if not looks:
        for link in robot.iter("link"):
            for visual in link.findall("visual"):
                link.remove(visual)
    options = {"fusestatic": "false", "discardvisual": "false", "strippath": "false", "balanceinertia": "false"}
    ElementTree.SubElement(ElementTree.SubElement(robot, "mujoco"), "compiler", options)
    spec = mujoco.MjSpec.from_string(ElementTree.tostring(robot, encoding="unicode"))
    # Links without a mass cannot be simulated, but that is not asked for here.
    spec.compiler.boundmass = spec.compiler.boundinertia = 1e-9
    return spec.compile()


def placed(model: mujoco.MjModel, positions: dict[str, float]) -> mujoco.MjData:
    data = mujoco.MjData(model)
    for name, position in positions.items():
        data.qpos[model.jnt_qposadr[model.joint(name).id]] = position
    mujoco.mj_kinematics(model, data)
    return data


@pytest.mark.parametrize(
    ("task", "profile", "links"),
    [
        *(("block", "exact", 28), ("block", "turbo", 17)),
        *(("kitchen", "exact", 10), ("kitchen", "fast", 10), ("maze", "exact", 1)),
    ],
)
def test_links_are_where_the_simulators_bodies_are(task: str, profile: str, links: int) -> None:
    env = simulator(task, profile)
    mechanism, model = env.mechanism, env.model
    described = read_again(env.robot_description())
    rng = np.random.default_rng(0)
    start = env.qpos_of(env.state()[0])
    names = [model.joint(index).name for index in range(model.njnt)]
    moving = [name for name in names if mechanism.driver_name(name) in mechanism.joint_names]
    bodies = {mechanism.driver_name(model.body(index).name): index for index in range(1, model.nbody)}
    common = [name for name in bodies if name and mujoco.mj_name2id(described, mujoco.mjtObj.mjOBJ_BODY, name) > 0]
    assert len(common) == links
    for _ in range(5):
        positions = {name: float(rng.uniform(-0.5, 0.5)) for name in moving}
        actual = mujoco.MjData(model)
        actual.qpos[:] = start
        for name, position in positions.items():
            actual.qpos[model.jnt_qposadr[model.joint(name).id]] = position
        mujoco.mj_kinematics(model, actual)
        data = placed(described, {mechanism.driver_name(name): position for name, position in positions.items()})
        for name in common:
            ours, body = data.body(name), bodies[name]
            np.testing.assert_allclose(ours.xpos, actual.xpos[body], atol=1e-6, err_msg=name)
            np.testing.assert_allclose(ours.xmat, actual.xmat[body], atol=1e-6, err_msg=name)


@pytest.mark.parametrize("task", ["block", "kitchen"])
def test_meshes_are_drawn_where_the_simulator_draws_them(task: str) -> None:
    """Their corners, whatever frame the compiled meshes have."""
    env = simulator(task)
    model = env.mechanism.compiled(0, looks=True)
    described = read_again(env.robot_description(), looks=True)
    positions = {name: 0.1 * index for index, name in enumerate(env.joint_names)}
    actual = mujoco.MjData(model)
    actual.qpos[:] = env.qpos_of(env.state()[0])
    for index in range(model.njnt):
        if (name := env.mechanism.driver_name(model.joint(index).name)) in positions:
            actual.qpos[model.jnt_qposadr[index]] = positions[name]
    mujoco.mj_kinematics(model, actual)
    data = placed(described, positions)
    drawn = [index for index in meshes(described) if described.geom_bodyid[index]]
    assert len(drawn) > 9
    for geom in drawn:
        link = described.body(described.geom_bodyid[geom]).name
        same = [
            index
            for index in meshes(model)
            if env.mechanism.driver_name(model.body(model.geom_bodyid[index]).name) == link
            and model.geom_group[index] < 3
        ]
        nearest = min(np.abs(corners(model, actual, index) - corners(described, data, geom)).max() for index in same)
        assert nearest < 1e-5, link


def meshes(model: mujoco.MjModel) -> list[int]:
    return [index for index in range(model.ngeom) if model.geom_type[index] == mujoco.mjtGeom.mjGEOM_MESH]


def corners(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> NDArray[np.float64]:
    """(2, 3) lowest and highest coordinates of a mesh in the world."""
    mesh = model.geom_dataid[geom]
    first = model.mesh_vertadr[mesh]
    vertices = model.mesh_vert[first : first + model.mesh_vertnum[mesh]]
    mujoco.mj_kinematics(model, data)
    placed_vertices = vertices @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]
    return np.stack([placed_vertices.min(axis=0), placed_vertices.max(axis=0)])


def test_anything_that_a_robot_may_be_is_expressed() -> None:
    model = mujoco.MjModel.from_xml_string(ODD)
    data = mujoco.MjData(model)
    loose = model.jnt_qposadr[model.joint("r:loose").id]
    data.qpos[loose] = 0.7
    described = read_again(odd_urdf(model, data.qpos))
    assert [described.joint(index).name for index in range(described.njnt)] == list(OURS.values())
    rng = np.random.default_rng(1)
    for _ in range(5):
        positions = rng.uniform(-1.0, 1.0, 3)
        for name, position in zip(OURS, positions, strict=True):
            data.qpos[model.jnt_qposadr[model.joint(name).id]] = position
        mujoco.mj_kinematics(model, data)
        again = placed(described, dict(zip(OURS.values(), positions, strict=True)))
        for link in ("base", "fixed", "tip"):
            np.testing.assert_allclose(again.body(link).xpos, data.body(f"r:{link}").xpos, atol=1e-9, err_msg=link)
            np.testing.assert_allclose(again.body(link).xmat, data.body(f"r:{link}").xmat, atol=1e-9, err_msg=link)


def test_limits_masses_and_shapes_are_those_of_the_model() -> None:
    """By hand: what another robot of the same kinematics would have otherwise."""
    model = mujoco.MjModel.from_xml_string(ODD)
    robot = ElementTree.fromstring(odd_urdf(model, model.qpos0))
    joints = {joint.attrib["name"]: joint for joint in robot.iter("joint")}
    assert {name: joints[name].attrib["type"] for name in OURS.values()} == {
        "lift": "prismatic",
        "turn": "revolute",
        "spin": "continuous",
    }
    limits = {name: joints[name].find("limit").attrib for name in OURS.values()}  # type: ignore[union-attr]
    assert limits["lift"] == {"lower": "0.1", "upper": "0.5", "effort": "0", "velocity": "0"}
    assert limits["turn"] == {"lower": "-1", "upper": "2", "effort": "7", "velocity": "0"}
    assert "lower" not in limits["spin"]
    shapes = {
        link.attrib["name"]: [(shape.tag, shape.attrib) for shape in link.findall("visual/geometry/*")]
        for link in robot.iter("link")
    }
    assert shapes["base"] == [("box", {"size": "0.2 0.4 0.6"})]
    assert [shape for shape, _ in shapes["tip"]] == ["cylinder", "sphere", "sphere"]
    assert shapes["tip"][0][1] == {"radius": "0.02", "length": "0.2"}
    assert "ball" not in shapes
    described = read_again(odd_urdf(model, model.qpos0))
    for link in ("base", "tip"):
        ours, actual = described.body(link), model.body(f"r:{link}")
        assert ours.mass == pytest.approx(actual.mass)
        np.testing.assert_allclose(inertia(ours), inertia(actual), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(ours.ipos, actual.ipos, atol=1e-9)


def inertia(body: Any) -> NDArray[np.float64]:
    """(3, 3) along the axes of a body [kg m2]."""
    axes = matrix_from_quat(body.iquat)
    result: NDArray[np.float64] = axes @ np.diag(body.inertia) @ axes.T
    return result


def test_a_ball_joint_of_the_robot_is_refused() -> None:
    model = mujoco.MjModel.from_xml_string(ODD)
    with pytest.raises(SimulationError, match="hinges and slides only, not ball"):
        robot_urdf(model, model.qpos0, {"ball": "ball"})


def test_kinematics_of_real_arms_work_with_the_simulated_robot() -> None:
    """The driver's joint names, and a gripper frame in the links of the real Fetch."""
    env = simulator("block")
    config = KinematicsConfig("topic", base="base_link", end_effector="gripper_link", joints=ARM_JOINTS)
    arm = load_arm(config, env.robot_description())
    assert arm.joints == ARM_JOINTS
    positions = np.random.default_rng(0).uniform(0.1, 0.3, len(ARM_JOINTS))
    ours, expected = arm.pose(positions), GripperKinematics(ARM_JOINTS).pose(positions)
    np.testing.assert_allclose(ours[1], expected[1], atol=1e-6)
    # The grip site, between the fingers.
    offset = env.model.site("robot0:grip").pos
    moved = load_arm(replace(config, tool_position=tuple(offset)), env.robot_description())
    np.testing.assert_allclose(moved.pose(positions)[0], expected[0], atol=1e-6)
