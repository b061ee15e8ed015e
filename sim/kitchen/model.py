"""Compiled MuJoCo models of the kitchen, and the arm's configuration.

Assets are read from the installed ``gymnasium-robotics``; none are copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import mujoco
import numpy as np

from reskill_core.arrays import Float64Array
from reskill_core.errors import SimulationError
from reskill_sim.engine.variation import World
from reskill_sim.kitchen import constants
from reskill_sim.kitchen.profiles import Profile

# Bodies of the arm that stay away from the furniture; the last of them meets the first two and the pedestal.
_FAR_LINKS = tuple(f"{constants.ARM_PREFIX}link{number}" for number in range(6))
_BASE_LINKS, _ELBOW, _ELBOW_BIT = _FAR_LINKS[:2], _FAR_LINKS[5], 2
# Furniture with handles and a tap that no subtask needs.
_COUNTERS = "counters"
_CABINETS = (_COUNTERS, "ovenroot")
_FLOOR = "floor"
# Where the oven ends, in the frame of the counters [m].
_OVEN_RIGHT_M = 0.3
# Everything about a static geom that matters for contacts, and the group by which it is hidden.
_CONTACT_FIELDS = (
    *("type", "size", "pos", "quat", "condim", "contype", "conaffinity", "margin", "gap"),
    *("solref", "solimp", "solmix", "priority", "friction", "group", "mass"),
)


def asset_folder() -> Path:
    """Find the folder of the installed kitchen model.

    Raises:
        SimulationError: gymnasium-robotics is not installed, or comes without the kitchen.
    """
    package = find_spec("gymnasium_robotics")
    if package is None or package.origin is None:
        raise SimulationError(
            "the kitchen model comes with gymnasium-robotics, which is not installed: pip install gymnasium-robotics"
        )
    folder = Path(package.origin).parent / "envs" / "assets" / "kitchen_franka"
    if not folder.is_dir():
        raise SimulationError(
            f"the installed gymnasium-robotics has no kitchen model in {folder}; it comes with version 1.2 and later"
        )
    return folder


def mesh_folder() -> Path:
    """Return the folder of the meshes."""
    return asset_folder() / "franka_assets" / "meshes"


def build_model(profile: Profile, world: World, looks: bool = False) -> mujoco.MjModel:
    """Compile the kitchen with the fidelity of a profile.

    Args:
        profile: the fidelity profile.
        world: factors on friction and on the kettle's mass.
        looks: keep the visual parts.

    Raises:
        SimulationError: the model is not installed.
    """
    spec = mujoco.MjSpec.from_file(str(asset_folder() / "kitchen_assets" / "kitchen_env_model.xml"))
    if looks:
        _simplify_looks(spec)
    else:
        _strip_looks(spec)
    for name, size in sensor_sizes().items():
        # Set by the mechanism, which reads coordinates at the end of a control step; MuJoCo's own sensors are read a
        # substep earlier.
        spec.add_sensor(name=name, type=mujoco.mjtSensor.mjSENS_USER, dim=size, needstage=mujoco.mjtStage.mjSTAGE_POS)
    spec.option.timestep = profile.timestep_s
    if profile.slim:
        _slim_down(spec, looks)
    for geom in spec.geoms:
        geom.friction = geom.friction * [world.friction, 1.0, 1.0]
    model = spec.compile()
    if world.mass != 1.0:
        kettle = model.body(constants.KETTLE_BODY).id
        model.body_mass[kettle] *= world.mass
        model.body_inertia[kettle] *= world.mass
        mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def sensor_sizes() -> dict[str, int]:
    """Return the number of values of each sensor, by name, in the order of the observation."""
    return {
        "joint_position": len(constants.JOINT_NAMES),
        "arm_velocity": len(constants.ARM_JOINTS),
        "finger_velocity": len(constants.FINGER_JOINTS),
        **{f"{name}_position": 1 for name, _, _ in constants.FURNITURE},
        "kettle_position": 3,
        "kettle_quaternion": 4,
        **{f"{name}_velocity": 1 for name, _, _ in constants.FURNITURE},
        "kettle_velocity": 3,
        "kettle_angular_velocity": 3,
    }


def _slim_down(spec: mujoco.MjSpec, looks: bool) -> None:
    """Leave out contacts that do not occur, and integrate dampings implicitly so that longer steps are stable."""
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    pedestal = spec.body(_FAR_LINKS[0]).parent
    for geom in list(spec.geoms):
        of_cabinet = geom.parent.name in _CABINETS and geom.type != mujoco.mjtGeom.mjGEOM_BOX
        unused = of_cabinet or geom.name == _FLOOR
        if unused and not looks:
            spec.delete(geom)
        elif unused or geom.parent.name in _FAR_LINKS or geom.parent == pedestal:
            geom.contype = geom.conaffinity = 0
        # The elbow does touch the arm's own base.
        if geom.parent.name == _ELBOW:
            geom.contype = _ELBOW_BIT
        elif geom.parent.name in _BASE_LINKS or geom.parent == pedestal:
            geom.conaffinity = _ELBOW_BIT
    _part_counters(spec)


def _part_counters(spec: mujoco.MjSpec) -> None:
    """Make the counter right of the oven a body of its own.

    The two are one body, whose bounds contain the oven and everything above it: MuJoCo would look for contacts with all
    their parts. The contacts are the same.
    """
    both = spec.body(_COUNTERS)
    right = both.parent.add_body(name=f"{_COUNTERS}_right", pos=both.pos, quat=both.quat)
    for geom in list(both.geoms):
        if geom.contype == geom.conaffinity == 0 or geom.pos[0] < _OVEN_RIGHT_M:
            continue
        moved = right.add_geom()
        for name in _CONTACT_FIELDS:
            setattr(moved, name, getattr(geom, name))
        spec.delete(geom)


def _simplify_looks(spec: mujoco.MjSpec) -> None:
    """Leave out shadows and reflections: with them, drawing in software takes ten times as long."""
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 0, 2
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 960
    for material in spec.materials:
        material.reflectance = 0.0


def _strip_looks(spec: mujoco.MjSpec) -> None:
    """Delete parts without influence on the physics, which take memory and time."""
    unfelt = [geom for geom in spec.geoms if not geom.contype and not geom.conaffinity]
    for item in [*spec.cameras, *spec.lights, *unfelt]:
        spec.delete(item)
    shown = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if mesh.name not in shown:
            spec.delete(mesh)
    for geom in spec.geoms:
        geom.material = ""
    for item in [*spec.materials, *spec.textures]:
        spec.delete(item)


@dataclass(frozen=True)
class ArmLimits:
    """Limits of commands, and amplitudes of noise, of the installed environment.

    Attributes:
        low: (9,) lowest commanded joint position [rad or m].
        high: (9,) highest commanded joint position [rad or m].
        noise: (59,) amplitude of the noise of each measured value, in the order of :func:`sensor_sizes`.
    """

    low: Float64Array
    high: Float64Array
    noise: Float64Array


@cache
def arm_limits() -> ArmLimits:
    """Read the arm's configuration file.

    Raises:
        SimulationError: the model is not installed, or its configuration has another form.
    """
    path = asset_folder() / "franka_assets" / "franka_config.xml"
    try:
        root = ElementTree.parse(path).getroot()
        count = len(constants.START_QPOS) - 1
        entries = [root.find(f"qpos{index}") for index in range(count)]
        bounds = np.array([_numbers(entry, "pos_bound") for entry in entries[: len(constants.JOINT_NAMES)]])
        pos, vel = (
            np.array([_numbers(entry, name)[0] for entry in entries]) for name in ("pos_noise_amp", "vel_noise_amp")
        )
    except (OSError, ElementTree.ParseError, KeyError, ValueError, AttributeError) as error:
        raise SimulationError(f"{path} of the installed gymnasium-robotics cannot be read: {error}") from error
    robot, objects = constants.ROBOT_NOISE_RATIO, constants.OBJECT_NOISE_RATIO
    # The installed environment takes the amplitudes of the objects' coordinates from one entry too early; the kettle's
    # quaternion has one coordinate more than velocities.
    noise = np.concatenate([robot * pos[:9], robot * vel[:9], objects * pos[8:], objects * vel[9:]])
    return ArmLimits(bounds[:, 0], bounds[:, 1], noise)


def _numbers(entry: ElementTree.Element | None, name: str) -> list[float]:
    if entry is None:
        raise KeyError(name)
    return [float(part) for part in entry.attrib[name].split()]


def start_state(model: mujoco.MjModel) -> mujoco.MjData:
    """Return the state at the start of every episode, at rest."""
    data = mujoco.MjData(model)
    data.qpos[:] = constants.START_QPOS
    mujoco.mj_forward(model, data)
    return data
