"""Scenes: the installed Fetch model, a table and objects, compiled to a MuJoCo model.

Assets are read from the installed ``gymnasium-robotics``; nothing of it is copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import mujoco
import numpy as np

from reskill_core.errors import SimulationError, require_choice
from reskill_sim import constants

PROFILES = ("exact",)
OBJECT_DAMPING = 0.01


@dataclass(frozen=True)
class BoxGeom:
    """A box as part of an object.

    Attributes:
        half_size: half edge lengths [m].
        mass: [kg].
        pos: centre in the object's frame [m].
    """

    half_size: tuple[float, float, float]
    mass: float
    pos: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class SceneObject:
    """A free body made of boxes.

    Attributes:
        name: name of the body and of the frame the observation refers to.
        geoms: its parts.
        frame_offset: where the observed frame lies in the body's frame [m].
        rgba: colour.
    """

    name: str
    geoms: tuple[BoxGeom, ...]
    frame_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rgba: tuple[float, float, float, float] = (0.20, 0.45, 0.75, 1.0)


@dataclass(frozen=True)
class Scene:
    """A table and objects in front of the robot.

    Attributes:
        table_pos: centre of the table [m].
        table_half_size: half edge lengths of the table [m].
        objects: free bodies, in the order of their coordinates in the simulator's state.
    """

    table_pos: tuple[float, float, float]
    table_half_size: tuple[float, float, float]
    objects: tuple[SceneObject, ...]


def asset_folder() -> Path:
    """Folder of the installed Fetch model.

    Raises:
        SimulationError: gymnasium-robotics is not installed.
    """
    package = find_spec("gymnasium_robotics")
    if package is None or package.origin is None:
        raise SimulationError(
            "the Fetch model comes with gymnasium-robotics, which is not installed: pip install gymnasium-robotics"
        )
    return Path(package.origin).parent / "envs" / "assets" / "fetch"


def build_model(scene: Scene, profile: str = "exact") -> mujoco.MjModel:
    """Compile a scene.

    Sensors, in this order: position and quaternion of the gripper link, position of the grip site, then position of
    the observed frame and quaternion of each object.

    Raises:
        ConfigError: unknown profile.
        SimulationError: the Fetch model is not installed.
    """
    require_choice("simulator profile", profile, PROFILES)
    spec = mujoco.MjSpec.from_file(str(asset_folder() / "pick_and_place.xml"))
    spec.delete(spec.body("object0"))
    table = spec.body("table0")
    table.pos = np.array(scene.table_pos)
    table.geoms[0].size = np.array(scene.table_half_size)
    for item in scene.objects:
        _add_object(spec, item)
    _add_sensors(spec, scene)
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 960
    model = spec.compile()
    # The gripper follows the mocap body itself, not the offset between the two in the model's resting pose.
    welds = model.eq_type == mujoco.mjtEq.mjEQ_WELD
    model.eq_data[welds, :7] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    for item in scene.objects:
        # Set in the compiled model: how a specification states damping differs between MuJoCo versions.
        first = model.jnt_dofadr[model.joint(f"{item.name}:joint").id]
        model.dof_damping[first : first + 6] = OBJECT_DAMPING
    return model


def _add_object(spec: mujoco.MjSpec, item: SceneObject) -> None:
    body = spec.worldbody.add_body(name=item.name)
    body.add_joint(name=f"{item.name}:joint", type=mujoco.mjtJoint.mjJNT_FREE)
    for index, part in enumerate(item.geoms):
        body.add_geom(
            name=f"{item.name}:{index}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=part.half_size,
            pos=part.pos,
            mass=part.mass,
            condim=3,
            rgba=item.rgba,
        )
    body.add_site(name=f"frame:{item.name}", pos=item.frame_offset, size=[0.005] * 3, rgba=[0, 0, 0, 0])


def _add_sensors(spec: mujoco.MjSpec, scene: Scene) -> None:
    body, site = mujoco.mjtObj.mjOBJ_XBODY, mujoco.mjtObj.mjOBJ_SITE
    position, quaternion = mujoco.mjtSensor.mjSENS_FRAMEPOS, mujoco.mjtSensor.mjSENS_FRAMEQUAT
    wanted = [
        (position, body, constants.GRIPPER_BODY),
        (quaternion, body, constants.GRIPPER_BODY),
        (position, site, constants.GRIP_SITE),
    ]
    for item in scene.objects:
        wanted += [(position, site, f"frame:{item.name}"), (quaternion, body, item.name)]
    for kind, object_type, name in wanted:
        spec.add_sensor(type=kind, objtype=object_type, objname=name)


def start_state(model: mujoco.MjModel) -> mujoco.MjData:
    """Move the arm from the model's resting pose to where episodes start, as the Fetch environments do.

    The objects are far away meanwhile; time is set back to zero, velocities are kept as they are.
    """
    data = mujoco.MjData(model)
    for name, value in constants.BASE_JOINTS_START.items():
        data.joint(name).qpos = value
    for joint in range(model.njnt):
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            address = model.jnt_qposadr[joint]
            # Spread out, so that nothing touches anything while the arm moves.
            data.qpos[address : address + 7] = [10.0 + 2.0 * joint, 10.0, 10.0, 1, 0, 0, 0]
    mujoco.mj_forward(model, data)
    mocap = model.body(constants.MOCAP_BODY).mocapid[0]
    data.mocap_pos[mocap] = data.site(constants.GRIP_SITE).xpos + constants.START_OFFSET_M
    data.mocap_quat[mocap] = constants.GRIPPER_DOWN_WXYZ
    substeps = round(constants.CONTROL_PERIOD_S / constants.TIMESTEP_S)
    mujoco.mj_step(model, data, nstep=constants.START_SETTLE_STEPS * substeps)
    data.time = 0.0
    mujoco.mj_forward(model, data)
    return data
