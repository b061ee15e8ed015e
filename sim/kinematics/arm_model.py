"""Kinematic models of arms: the joints between base and gripper frame, without geometry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import mujoco
import numpy as np

from reskill_core.arrays import Float64Array, IntArray
from reskill_core.errors import ConfigError, alternatives
from reskill_core.kinematics import MODEL_FROM_TOPIC, Kinematics, KinematicsConfig
from reskill_core.rotations import matrix_from_quat, multiply_quat

TOOL_SITE = "reskill_gripper_frame"
_PACKAGE = "robot_descriptions:"
_MOVING = (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)


class ArmModel:
    """Kinematic model of an arm: all joints between base and gripper frame, and no others.

    Args:
        spec: model of the robot; it is changed.
        config: base, end effector and tool.

    Raises:
        ConfigError: links or joints are missing from the model, or not what an arm needs.

    Attributes:
        model: compiled model, whose only coordinates are the joints.
        joints: names of the joints, from the base on.
        commanded: indices of the commanded joints.
        low: lower limits of the joints; -inf where there is none [m or rad].
        high: upper limits [m or rad].
        base: name of the body that is the base frame.
    """

    def __init__(self, spec: mujoco.MjSpec, config: KinematicsConfig) -> None:
        tip = _end_effector(spec, config)
        chain = list(_ancestors(tip))
        joints = [joint for body in reversed(chain) for joint in body.joints]
        if strange := [joint.name for joint in joints if joint.type not in _MOVING]:
            raise ConfigError(
                f"model: only hinges and slides can be between base and gripper, not {', '.join(strange)}"
            )
        if not joints:
            raise ConfigError(f"end_effector: no joint moves {config.end_effector!r}")
        names = [joint.name for joint in joints]
        _strip(spec, keep=set(names))
        self.base = _base(spec, config.base)
        spec.compiler.boundmass, spec.compiler.boundinertia = 1e-3, 1e-6
        self.model = spec.compile()
        order = np.argsort([self.model.jnt_qposadr[self.model.joint(name).id] for name in names])
        self.joints = tuple(names[index] for index in order)
        self.commanded = self._indices(config.joints or self.joints)
        limited, ranges = self.model.jnt_limited.astype(bool), self.model.jnt_range
        self.low = np.where(limited, ranges[:, 0], -np.inf)
        self.high = np.where(limited, ranges[:, 1], np.inf)
        self._data = mujoco.MjData(self.model)
        self._site = self.model.site(TOOL_SITE).id
        self._base = self.model.body(self.base).id

    def narrow(self, low: Sequence[float], high: Sequence[float]) -> None:
        """Narrow the joints' limits to other ones (J,); infinite ones have no effect [m or rad]."""
        self.low, self.high = np.maximum(self.low, low), np.minimum(self.high, high)
        if (empty := self.low >= self.high).any():
            names = ", ".join(np.array(self.joints)[empty])
            raise ConfigError(f"sensing.joints: the ranges of {names} are outside those of the kinematic model")
        # The model wants finite numbers where there is a limit, and has none where one side has none.
        limited = np.isfinite(self.low) & np.isfinite(self.high)
        self.model.jnt_limited[:] = limited
        self.model.jnt_range[limited] = np.stack([self.low, self.high], axis=1)[limited]

    @property
    def kinematics(self) -> Kinematics:
        """Forward kinematics as a function."""
        return Kinematics(self.joints, self.pose)

    def pose(self, positions: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Compute position (3,) [m] and quaternion (4,), scalar first, of the gripper frame in the base frame."""
        data = self._data
        data.qpos[:] = positions
        mujoco.mj_kinematics(self.model, data)
        inverse = data.xquat[self._base] * [1.0, -1.0, -1.0, -1.0]
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, data.site_xmat[self._site])
        position = matrix_from_quat(inverse) @ (data.site_xpos[self._site] - data.xpos[self._base])
        return position, multiply_quat(inverse, quat)

    def _indices(self, names: Sequence[str]) -> IntArray:
        if unknown := [name for name in names if name not in self.joints]:
            raise ConfigError(
                f"kinematics.joints: not between base and end effector: {', '.join(unknown)}; "
                f"{alternatives(unknown[0], self.joints)}"
            )
        return np.array([self.joints.index(name) for name in names])


def load_arm(config: KinematicsConfig, description: str = "") -> ArmModel:
    """Load the model of an arm.

    Args:
        config: source of the model, and base, end effector and tool.
        description: URDF or MJCF text, for a model from the topic.

    Raises:
        ConfigError: the model is missing or unsuitable.
    """
    try:
        return ArmModel(_spec(config.model, description), config)
    except (ValueError, ElementTree.ParseError) as error:
        raise ConfigError(f"model {config.model!r} cannot be read: {error}") from error


def _spec(source: str, description: str) -> mujoco.MjSpec:
    if source == MODEL_FROM_TOPIC:
        return _from_text(description)
    if source.startswith(_PACKAGE):
        source = _packaged(source.removeprefix(_PACKAGE))
    path = Path(source).expanduser()
    if not path.is_file():
        raise ConfigError(f"model: there is no file {source!r}; or give topic, or {_PACKAGE}NAME")
    # An MJCF file may include others, relative to it; a URDF refers to meshes only, which are not needed.
    return _from_text(path.read_text()) if path.suffix == ".urdf" else mujoco.MjSpec.from_file(str(path))


def _packaged(name: str) -> str:
    try:
        module = import_module(f"robot_descriptions.{name}")
    except ModuleNotFoundError as error:
        if error.name == "robot_descriptions":
            raise ConfigError(f"model {_PACKAGE}{name}: pip install robot_descriptions") from error
        raise ConfigError(f"model: robot_descriptions has no {name!r}") from error
    return str(getattr(module, "MJCF_PATH", None) or module.URDF_PATH)


def _from_text(text: str) -> mujoco.MjSpec:
    root = ElementTree.fromstring(text)
    if root.tag != "robot":
        return mujoco.MjSpec.from_string(text)
    for link in root.iter("link"):
        for shape in [*link.findall("visual"), *link.findall("collision")]:
            link.remove(shape)
    for old in root.findall("mujoco"):
        root.remove(old)
    # Otherwise links without a joint of their own, such as tool0, would be merged into their parents.
    ElementTree.SubElement(ElementTree.SubElement(root, "mujoco"), "compiler", fusestatic="false")
    return mujoco.MjSpec.from_string(ElementTree.tostring(root, encoding="unicode"))


def _end_effector(spec: mujoco.MjSpec, config: KinematicsConfig) -> mujoco.MjsBody:
    """Find the end effector's body, and add the gripper frame to it."""
    position, quat = np.array(config.tool_position), np.array(config.tool_quat_wxyz)
    site = spec.site(config.end_effector)
    body = spec.body(config.end_effector) if site is None else site.parent
    if body is None:
        names = [item.name for item in [*spec.bodies, *spec.sites] if item.name]
        raise ConfigError(
            f"end_effector: {config.end_effector!r} is not in the model; {alternatives(config.end_effector, names)}"
        )
    if site is not None:
        position = site.pos + matrix_from_quat(site.quat) @ position
        quat = multiply_quat(site.quat, quat)
    body.add_site(name=TOOL_SITE, pos=position, quat=quat)
    return body


def _base(spec: mujoco.MjSpec, name: str) -> str:
    if not name:
        return "world"
    if spec.body(name) is None:
        names = [body.name for body in spec.bodies]
        raise ConfigError(f"base: {name!r} is not in the model; {alternatives(name, names)}")
    return name


def _ancestors(body: mujoco.MjsBody) -> Iterator[mujoco.MjsBody]:
    """A body and all that it is attached to, without the world."""
    while body.parent is not None and body.name != "world":
        yield body
        body = body.parent


def _strip(spec: mujoco.MjSpec, keep: set[str]) -> None:
    """Delete everything but bodies, sites and the joints to keep."""
    kinds = ("keys", "actuators", "sensors", "tendons", "equalities", "pairs", "excludes", "cameras", "lights")
    for kind in kinds:
        for item in list(getattr(spec, kind)):
            spec.delete(item)
    for geom in list(spec.geoms):
        spec.delete(geom)
    for kind in ("meshes", "skins", "textures", "materials", "hfields"):
        for item in list(getattr(spec, kind)):
            spec.delete(item)
    for joint in list(spec.joints):
        if joint.name not in keep:
            spec.delete(joint)
