"""Compiled MuJoCo models of the Fetch with table and objects, and the arm's start state.

Assets are read from the installed ``gymnasium-robotics``; none are copied.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import SimulationError
from reskill_sim.fetch import constants
from reskill_sim.fetch.profiles import Profile, get_profile
from reskill_sim.fetch.scene import EMPTY, EllipsoidGeom, Geom, MeshGeom, Scene, SceneObject

FIXTURE_RGBA = (0.55, 0.42, 0.30, 1.0)

# Names of the sensors of the gripper link, to which commands are relative, and of the grip site between the fingers.
GRIPPER_POSITION, GRIPPER_QUATERNION = "gripper:position", "gripper:quaternion"
GRIP_POSITION = "grip:position"
# Names of the sensors of contact forces on gripper and fingers.
LOADS = tuple(f"{body}:load" for body in constants.GRIPPER_BODIES)


def asset_folder() -> Path:
    """Find the folder of the installed Fetch model.

    Raises:
        SimulationError: gymnasium-robotics is not installed.
    """
    package = find_spec("gymnasium_robotics")
    if package is None or package.origin is None:
        raise SimulationError(
            "the Fetch model comes with gymnasium-robotics, which is not installed: pip install gymnasium-robotics"
        )
    return Path(package.origin).parent / "envs" / "assets" / "fetch"


def mesh_folder() -> Path:
    """Return the folder of the model's meshes."""
    return asset_folder().parent / "stls" / "fetch"


EXACT = get_profile("exact")
STOCK_TIMESTEP_S = EXACT.timestep_s
# How contact sensors reduce contacts to one, ``reduce="netforce"`` in XML.
_NET_FORCE = 3


def build_model(
    scene: Scene,
    profile: Profile = EXACT,
    looks: bool = True,
    gripper_closed: bool = False,
    measures_load: bool = False,
) -> mujoco.MjModel:
    """Compile a scene with the fidelity of a profile.

    Names of its sensors: ``GRIPPER_POSITION``, ``GRIPPER_QUATERNION``, ``GRIP_POSITION`` and, for each object,
    :func:`object_sensors`.

    Args:
        scene: the scene.
        profile: the fidelity profile.
        looks: keep the visual parts in a slim profile.
        gripper_closed: leave out the fingers' actuators, as the stock pushing environment does, which holds them shut.
        measures_load: add the sensors ``LOADS``.

    Raises:
        SimulationError: the Fetch model is not installed.
    """
    spec = mujoco.MjSpec.from_file(str(asset_folder() / "pick_and_place.xml"))
    spec.delete(spec.body("object0"))
    table = spec.body("table0")
    table.pos = np.array([*scene.table.centre, constants.TABLE_TOP_M / 2])
    table.geoms[0].size = np.array([*scene.table.half_size, constants.TABLE_TOP_M / 2])
    if gripper_closed:
        for actuator in list(spec.actuators):
            spec.delete(actuator)
    add_scene(spec, scene)
    _add_sensors(spec, scene)
    if measures_load:
        _add_load_sensors(spec)
    spec.option.timestep = profile.timestep_s
    if profile.slim:
        _slim_down(spec, profile, looks)
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 960
    model = spec.compile()
    # Weld the gripper to the mocap body without the offset between the two in the model's resting pose.
    welds = model.eq_type == mujoco.mjtEq.mjEQ_WELD
    model.eq_data[welds, :7] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    steps = round(profile.timestep_s / STOCK_TIMESTEP_S)
    for kind in ("eq", "geom", "jnt"):
        solref, solimp = getattr(model, f"{kind}_solref"), getattr(model, f"{kind}_solimp")
        solref[:], solimp[:, :2] = _as_if_finer(solref, solimp[:, :2], steps)
    for item in scene.objects:
        # Set in the compiled model, because damping in a specification differs between MuJoCo versions.
        first = model.jnt_dofadr[model.joint(f"{item.name}:joint").id]
        model.dof_damping[first : first + 6] = item.damping
    return model


def add_scene(spec: mujoco.MjSpec, scene: Scene) -> None:
    """Add fixtures and objects of a scene to a specification, and set the friction of all its surfaces."""
    for number, fixture in enumerate(scene.fixtures):
        geom = _add_geom(spec, spec.worldbody, fixture, f"fixture:{number}")
        geom.condim, geom.rgba = 3, FIXTURE_RGBA
    for item in scene.objects:
        _add_object(spec, item)
    if scene.friction is not None:
        for geom in spec.geoms:
            geom.friction = np.array(scene.friction)
    if scene.friction_factor != 1.0:
        for geom in spec.geoms:
            geom.friction = geom.friction * [scene.friction_factor, 1.0, 1.0]


def _slim_down(spec: mujoco.MjSpec, profile: Profile, looks: bool) -> None:
    """Fix base, torso and head in their start positions, and disable collisions of all but gripper and fingers."""
    for name, position in constants.FIXED_JOINTS_START.items():
        joint = spec.joint(constants.MODEL_PREFIX + name)
        if joint.type == mujoco.mjtJoint.mjJNT_SLIDE:
            joint.parent.pos = joint.parent.pos + np.array(joint.axis) * position
        elif position:
            raise SimulationError(f"hinge {name} can be fixed at 0 only, got {position}")
        spec.delete(joint)
    for geom in spec.geoms:
        if geom.name.startswith(constants.MODEL_PREFIX) and geom.name not in constants.COLLIDING_GEOMS:
            geom.contype = geom.conaffinity = 0
        if geom.name in constants.FINGER_GEOMS:
            geom.condim = profile.finger_condim
    if not looks:
        _strip_looks(spec)
    # With few bodies, the detection of independent islands is slower than what it saves.
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND


def _strip_looks(spec: mujoco.MjSpec) -> None:
    """Delete parts without influence on the physics, which MuJoCo would update in every step."""
    unfelt = [geom for geom in spec.geoms if not geom.contype and not geom.conaffinity]
    for item in [*spec.cameras, *spec.lights, *unfelt]:
        spec.delete(item)
    for name in constants.CAMERA_BODIES:
        spec.delete(spec.body(constants.MODEL_PREFIX + name))
    shown = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if mesh.name not in shown:
            spec.delete(mesh)


def _as_if_finer(
    solref: NDArray[np.float64], impedance: NDArray[np.float64], steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute solver parameters with which constraints act in one coarse step as in several stock steps.

    Without other forces, a constraint's residual r obeys r'' = -b r' - k r, with b = 2 / tc and k = 1 / (tc dr)^2
    (MuJoCo's documentation of solver parameters). A semi-implicit step h has the characteristic equation
    z^2 - (2 - b h - k h^2) z + (1 - b h) = 0. For several stock steps in one, the roots are raised to that power, which
    determines the new b and k. Under load a constraint yields by (1 - d) / k times the acceleration of the load alone,
    and friction creeps by (1 - d) / b times it: so 1 - d is reduced along with k and b.

    Args:
        solref: (n, 2) time constants tc [s] and damping ratios dr at stock steps.
        impedance: (n, 2) impedances d, for small and for large residuals.
        steps: number of stock steps per coarse step.

    Returns:
        The same parameters for the coarse step.
    """
    if steps == 1:
        return solref, impedance
    time_constant, ratio = solref.T
    stiffness = 1.0 / (time_constant * ratio) ** 2
    lost = 2.0 / time_constant * STOCK_TIMESTEP_S
    recurrence = np.zeros((len(solref), 2, 2))
    recurrence[:, 0, 0], recurrence[:, 0, 1] = 2.0 - lost - stiffness * STOCK_TIMESTEP_S**2, lost - 1.0
    recurrence[:, 1, 0] = 1.0
    trace = np.linalg.matrix_power(recurrence, steps).trace(axis1=1, axis2=2)
    timestep_s = steps * STOCK_TIMESTEP_S
    lost = 1.0 - (1.0 - lost) ** steps
    weaker = (2.0 - lost - trace) / timestep_s**2
    time_constant = 2.0 * timestep_s / lost
    solref = np.column_stack([time_constant, 1.0 / (np.sqrt(weaker) * time_constant)])
    return solref, 1.0 - (1.0 - impedance) * (weaker / stiffness)[:, None]


def _add_object(spec: mujoco.MjSpec, item: SceneObject) -> None:
    body = spec.worldbody.add_body(name=item.name)
    body.add_joint(name=f"{item.name}:joint", type=mujoco.mjtJoint.mjJNT_FREE)
    for number, part in enumerate(item.geoms):
        geom = _add_geom(spec, body, part, f"{item.name}:{number}")
        geom.condim, geom.rgba = 3, item.rgba
        if item.friction is not None:
            geom.friction = np.array([item.friction, *geom.friction[1:]])
            geom.priority = 1
    body.add_site(name=f"frame:{item.name}", pos=item.frame_offset, size=[0.005] * 3, rgba=[0, 0, 0, 0])


def _add_geom(spec: mujoco.MjSpec, body: mujoco.MjsBody, part: Geom, name: str) -> mujoco.MjsGeom:
    if isinstance(part, MeshGeom):
        mesh = spec.add_mesh(name=name, uservert=np.ravel(part.vertices), userface=np.ravel(part.faces))
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX
        return body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, mass=part.mass)
    ellipsoid = isinstance(part, EllipsoidGeom)
    kind = mujoco.mjtGeom.mjGEOM_ELLIPSOID if ellipsoid else mujoco.mjtGeom.mjGEOM_BOX
    return body.add_geom(type=kind, size=part.half_size, pos=part.pos, quat=part.quat_wxyz, mass=part.mass)


def object_sensors(item: SceneObject) -> tuple[str, str]:
    """Return the names of an object's sensors: position of its observed frame, and quaternion."""
    return f"{item.name}:position", f"{item.name}:quaternion"


def _add_sensors(spec: mujoco.MjSpec, scene: Scene) -> None:
    body, site = mujoco.mjtObj.mjOBJ_XBODY, mujoco.mjtObj.mjOBJ_SITE
    position, quaternion = mujoco.mjtSensor.mjSENS_FRAMEPOS, mujoco.mjtSensor.mjSENS_FRAMEQUAT
    wanted = [
        (GRIPPER_POSITION, position, body, constants.GRIPPER_BODY),
        (GRIPPER_QUATERNION, quaternion, body, constants.GRIPPER_BODY),
        (GRIP_POSITION, position, site, constants.GRIP_SITE),
    ]
    for item in scene.objects:
        of_frame, of_body = object_sensors(item)
        wanted += [(of_frame, position, site, f"frame:{item.name}"), (of_body, quaternion, body, item.name)]
    for name, kind, object_type, of in wanted:
        spec.add_sensor(name=name, type=kind, objtype=object_type, objname=of)


def _add_load_sensors(spec: mujoco.MjSpec) -> None:
    """Add sensors of the contact forces (3,) on gripper and fingers [N]; in their sum, those between them cancel."""
    force = int(mujoco.mjtConDataField.mjCONDATA_FORCE)
    for name, body in zip(LOADS, constants.GRIPPER_BODIES, strict=True):
        spec.add_sensor(
            name=name,
            type=mujoco.mjtSensor.mjSENS_CONTACT,
            # The second of a pair, so that forces are those on the body.
            reftype=mujoco.mjtObj.mjOBJ_BODY,
            refname=body,
            intprm=[1 << force, _NET_FORCE, 1],
        )


def start_state(model: mujoco.MjModel) -> mujoco.MjData:
    """Move the arm from the model's resting pose to the start of episodes, as the Fetch environments do.

    The objects are far away meanwhile. In the end the robot keeps its small residual velocity; the objects are at rest.
    """
    data = _resting(model)
    free = [joint for joint in range(model.njnt) if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE]
    for joint in free:
        address = model.jnt_qposadr[joint]
        # Spread out, so that there are no contacts while the arm moves.
        data.qpos[address : address + 7] = [10.0 + 2.0 * joint, 10.0, 10.0, 1, 0, 0, 0]
    mujoco.mj_forward(model, data)
    mocap = model.body(constants.MOCAP_BODY).mocapid[0]
    data.mocap_pos[mocap] = _resting_grip_pos_w() + constants.START_OFFSET_M
    data.mocap_quat[mocap] = constants.GRIPPER_DOWN_WXYZ
    substeps = round(constants.CONTROL_PERIOD_S / model.opt.timestep)
    mujoco.mj_step(model, data, nstep=constants.START_SETTLE_STEPS * substeps)
    data.time = 0.0
    for joint in free:
        # The objects have been falling meanwhile.
        data.qvel[model.jnt_dofadr[joint] :][:6] = 0.0
    mujoco.mj_forward(model, data)
    return data


def _resting(model: mujoco.MjModel) -> mujoco.MjData:
    data = mujoco.MjData(model)
    joints = {model.joint(index).name for index in range(model.njnt)}
    for name, value in constants.BASE_JOINTS_START.items():
        if name in joints:
            data.joint(name).qpos = value
    return data


@cache
def _resting_grip_pos_w() -> np.ndarray:
    """(3,) the grip site in the stock model's resting pose [m]; with a fixed torso it is a millimetre higher."""
    model = build_model(EMPTY)
    data = _resting(model)
    mujoco.mj_forward(model, data)
    return data.site(constants.GRIP_SITE).xpos.copy()
