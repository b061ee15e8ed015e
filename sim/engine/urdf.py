"""URDF of the robot in a compiled MuJoCo model, for what reads URDF: kinematics, robot_state_publisher, RViz."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import mujoco
import numpy as np

from reskill_core.arrays import Float64Array
from reskill_core.errors import SimulationError
from reskill_core.rotations import matrix_from_quat

_JOINT, _GEOM = mujoco.mjtJoint, mujoco.mjtGeom
_KINDS = {_JOINT.mjJNT_HINGE: "revolute", _JOINT.mjJNT_SLIDE: "prismatic"}
# Groups of geoms that MuJoCo draws by default; parts that only collide are in others.
_DRAWN_GROUPS = range(3)
# Entries of a symmetric matrix.
_UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
# Range of a slide without limits, which URDF cannot express [m].
_FAR_M = 1e3


def robot_urdf(
    model: mujoco.MjModel,
    qpos: Float64Array,
    joints: Mapping[str, str],
    link_name: Callable[[str], str] = str,
    root: str = "world",
    mesh_folder: Path | None = None,
) -> str:
    """Describe the robot in a model: every tree of bodies with one of its joints, from the world on.

    Frames of links are those of the bodies. Other joints in these trees are fixed. Shapes without a counterpart in
    URDF, such as ellipsoids, are left out. URDF demands limits of force and speed: 0 where the model has none.

    Args:
        model: compiled model, with visual parts.
        qpos: coordinates (nq,) at which other joints are fixed [m or rad].
        joints: name in the URDF of each of the robot's joints, by its name in the model.
        link_name: function from the name of a body to that of its link.
        root: name of the root link, the frame of the world.
        mesh_folder: folder of the model's meshes; None leaves meshes out.

    Raises:
        SimulationError: a joint of the robot is neither a hinge nor a slide.
    """
    chosen = {model.joint(name).id: driver_name for name, driver_name in joints.items()}
    if strange := [name for index, name in chosen.items() if model.jnt_type[index] not in _KINDS]:
        raise SimulationError(f"a URDF of the robot has hinges and slides only, not {', '.join(strange)}")
    trees = {model.body_rootid[model.jnt_bodyid[index]] for index in chosen}
    robot = ElementTree.Element("robot", name="robot")
    ElementTree.SubElement(robot, "link", name=root)
    names = {0: root}
    for body in range(1, model.nbody):
        if model.body_rootid[body] not in trees:
            continue
        names[body] = link_name(model.body(body).name) or f"body{body}"
        _attach(robot, model, body, names, chosen, qpos)
        link = ElementTree.SubElement(robot, "link", name=names[body])
        _add_inertia(link, model, body)
        for geom in range(model.ngeom):
            if model.geom_bodyid[geom] == body and model.geom_group[geom] in _DRAWN_GROUPS:
                _add_visuals(link, model, geom, mesh_folder)
    ElementTree.indent(robot)
    return ElementTree.tostring(robot, encoding="unicode")


# ---------------------------------------------------------------------- joints


def _attach(
    robot: ElementTree.Element,
    model: mujoco.MjModel,
    body: int,
    names: Mapping[int, str],
    chosen: Mapping[int, str],
    qpos: Float64Array,
) -> None:
    """Connect a body's link to its parent's by the body's joints, with links between them if there are several."""
    parent, name = names[model.body_parentid[body]], names[body]
    pose = _pose(model.body_pos[body], model.body_quat[body])
    first = model.body_jntadr[body]
    for joint in range(first, first + model.body_jntnum[body]):
        address = model.jnt_qposadr[joint]
        if model.jnt_type[joint] == _JOINT.mjJNT_FREE:
            pose = _pose(qpos[address : address + 3], qpos[address + 3 : address + 7])
            continue
        anchor = _pose(model.jnt_pos[joint])
        if joint not in chosen:
            pose = pose @ anchor @ _motion(model, joint, qpos[address:]) @ _inverse(anchor)
            continue
        # A URDF's joint is at zero where the model's coordinate is, which need not be how the model is drawn.
        pose = pose @ anchor @ _motion(model, joint, np.zeros(1))
        is_last = joint == first + model.body_jntnum[body] - 1
        child = name if is_last and not model.jnt_pos[joint].any() else f"{name}_{chosen[joint]}"
        element = _add_joint(robot, chosen[joint], _kind(model, joint), parent, child, pose)
        _add_range(element, model, joint)
        if child == name:
            return
        ElementTree.SubElement(robot, "link", name=child)
        parent, pose = child, _inverse(anchor)
    _add_joint(robot, f"{name}_fixed", "fixed", parent, name, pose)


def _motion(model: mujoco.MjModel, joint: int, position: Float64Array) -> Float64Array:
    """Transform (4, 4) of a joint about its anchor, at its position; the position of a ball joint is a quaternion."""
    if model.jnt_type[joint] == _JOINT.mjJNT_BALL:
        return _pose(np.zeros(3), position[:4])
    moved = position[0] - model.qpos0[model.jnt_qposadr[joint]]
    if model.jnt_type[joint] == _JOINT.mjJNT_SLIDE:
        return _pose(moved * model.jnt_axis[joint])
    quat = np.empty(4)
    mujoco.mju_axisAngle2Quat(quat, model.jnt_axis[joint], moved)
    return _pose(np.zeros(3), quat)


def _kind(model: mujoco.MjModel, joint: int) -> str:
    kind = _KINDS[model.jnt_type[joint]]
    return "continuous" if kind == "revolute" and not model.jnt_limited[joint] else kind


def _add_joint(
    robot: ElementTree.Element, name: str, kind: str, parent: str, child: str, pose: Float64Array
) -> ElementTree.Element:
    joint = ElementTree.SubElement(robot, "joint", name=name, type=kind)
    ElementTree.SubElement(joint, "parent", link=parent)
    ElementTree.SubElement(joint, "child", link=child)
    _add_origin(joint, pose)
    return joint


def _add_range(element: ElementTree.Element, model: mujoco.MjModel, joint: int) -> None:
    ElementTree.SubElement(element, "axis", xyz=_text(model.jnt_axis[joint]))
    low, high = model.jnt_range[joint] if model.jnt_limited[joint] else (-_FAR_M, _FAR_M)
    limits = {"effort": _text([_largest_force(model, joint)]), "velocity": "0"}
    if element.get("type") != "continuous":
        limits |= {"lower": _text([low]), "upper": _text([high])}
    ElementTree.SubElement(element, "limit", limits)


def _largest_force(model: mujoco.MjModel, joint: int) -> float:
    """Largest force of the actuators on a joint [N or N m]; 0 if it has no limit."""
    if model.jnt_actfrclimited[joint]:
        return float(np.abs(model.jnt_actfrcrange[joint]).max())
    on_joint = model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT
    ours = on_joint & (model.actuator_trnid[:, 0] == joint)
    if not ours.any() or not model.actuator_forcelimited[ours].all():
        return 0.0
    return float(np.abs(model.actuator_forcerange[ours]).max(axis=1).sum())


# ---------------------------------------------------------------------- links


def _add_inertia(link: ElementTree.Element, model: mujoco.MjModel, body: int) -> None:
    if not model.body_mass[body]:
        return
    inertial = ElementTree.SubElement(link, "inertial")
    ElementTree.SubElement(inertial, "mass", value=_text([model.body_mass[body]]))
    # Along the axes of the link: some readers ignore others.
    _add_origin(inertial, _pose(model.body_ipos[body]))
    axes = matrix_from_quat(model.body_iquat[body])
    inertia = axes @ np.diag(model.body_inertia[body]) @ axes.T
    entries = {f"i{'xyz'[row]}{'xyz'[column]}": _text(inertia[row, [column]]) for row, column in _UPPER}
    ElementTree.SubElement(inertial, "inertia", entries)


def _add_visuals(link: ElementTree.Element, model: mujoco.MjModel, geom: int, mesh_folder: Path | None) -> None:
    material = model.geom_matid[geom]
    rgba = model.geom_rgba[geom] if material < 0 else model.mat_rgba[material]
    if not rgba[3]:
        return
    pose = _pose(model.geom_pos[geom], model.geom_quat[geom])
    for at, shape, attributes in _shapes(model, geom, mesh_folder):
        visual = ElementTree.SubElement(link, "visual")
        _add_origin(visual, pose @ at)
        ElementTree.SubElement(ElementTree.SubElement(visual, "geometry"), shape, attributes)
        # Materials of the same name are the same.
        colour = ElementTree.SubElement(visual, "material", name=f"rgba {_text(rgba)}")
        ElementTree.SubElement(colour, "color", rgba=_text(rgba))


def _shapes(
    model: mujoco.MjModel, geom: int, mesh_folder: Path | None
) -> Iterator[tuple[Float64Array, str, dict[str, str]]]:
    """Pose (4, 4) in the geom's frame, name and attributes of each of the shapes that a geom consists of."""
    size, kind = model.geom_size[geom], model.geom_type[geom]
    radius = {"radius": _text(size[:1])}
    if kind == _GEOM.mjGEOM_BOX:
        yield np.eye(4), "box", {"size": _text(2 * size)}
    if kind == _GEOM.mjGEOM_SPHERE:
        yield np.eye(4), "sphere", radius
    if kind in (_GEOM.mjGEOM_CYLINDER, _GEOM.mjGEOM_CAPSULE):
        yield np.eye(4), "cylinder", {**radius, "length": _text(2 * size[1:2])}
    if kind == _GEOM.mjGEOM_CAPSULE:
        for end in (-size[1], size[1]):
            yield _pose(np.array([0.0, 0.0, end])), "sphere", radius
    if kind == _GEOM.mjGEOM_MESH and mesh_folder is not None:
        mesh = model.geom_dataid[geom]
        address = model.mesh_pathadr[mesh]
        # A mesh without a file was made of vertices in the code.
        if address >= 0:
            file = bytes(model.paths[address:]).split(b"\0", 1)[0].decode()
            # Vertices are relative to the mesh's centre and axes of inertia once it is compiled.
            centred = _pose(model.mesh_pos[mesh], model.mesh_quat[mesh])
            uri = (mesh_folder / file).resolve().as_uri()
            yield _inverse(centred), "mesh", {"filename": uri, "scale": _text(model.mesh_scale[mesh])}


# ---------------------------------------------------------------------- numbers


def _pose(position: Float64Array, quat_wxyz: Sequence[float] | Float64Array = (1.0, 0.0, 0.0, 0.0)) -> Float64Array:
    """Transform (4, 4) of a position (3,) and a quaternion (4,)."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = matrix_from_quat(np.asarray(quat_wxyz)), position
    return pose


def _inverse(pose: Float64Array) -> Float64Array:
    inverse = np.eye(4)
    inverse[:3, :3], inverse[:3, 3] = pose[:3, :3].T, -pose[:3, :3].T @ pose[:3, 3]
    return inverse


def _add_origin(element: ElementTree.Element, pose: Float64Array) -> None:
    """Add a pose (4, 4) as position and as angles about the fixed axes x, y and z, in that order."""
    turn = pose[:3, :3]
    cosine = np.hypot(turn[0, 0], turn[1, 0])
    pitch = np.arctan2(-turn[2, 0], cosine)
    if cosine > 1e-9:
        roll, yaw = np.arctan2(turn[2, 1], turn[2, 2]), np.arctan2(turn[1, 0], turn[0, 0])
    else:
        # Roll and yaw are about the same axis.
        roll, yaw = 0.0, np.arctan2(-turn[0, 1], turn[1, 1])
    xyz, rpy = (np.round(numbers, 12) + 0.0 for numbers in (pose[:3, 3], [roll, pitch, yaw]))
    ElementTree.SubElement(element, "origin", xyz=_text(xyz), rpy=_text(rpy))


def _text(numbers: Sequence[float] | Float64Array) -> str:
    return " ".join(f"{number:.12g}" for number in numbers)
