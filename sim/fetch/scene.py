"""Scenes: the installed Fetch model, a table and objects, compiled to a MuJoCo model.

Assets are read from the installed ``gymnasium-robotics``; nothing of it is copied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import SimulationError
from reskill_sim.fetch import constants
from reskill_sim.fetch.profiles import Profile, get_profile

FIXTURE_RGBA = (0.55, 0.42, 0.30, 1.0)

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


@dataclass(frozen=True)
class BoxGeom:
    """A box as part of an object.

    Attributes:
        half_size: half edge lengths [m].
        mass: [kg].
        pos: centre in the object's frame [m].
        quat_wxyz: orientation in the object's frame.
    """

    half_size: Vector
    mass: float
    pos: Vector = (0.0, 0.0, 0.0)
    quat_wxyz: Quaternion = (1.0, 0.0, 0.0, 0.0)

    _type = mujoco.mjtGeom.mjGEOM_BOX

    @property
    def lowest_m(self) -> float:
        """Height of its lowest point in the object's frame, if it is not tilted [m]."""
        return self.pos[2] - self.half_size[2]

    @property
    def footprint_m(self) -> float:
        """Radius of the circle around the frame's origin that it lies in, seen from above, if it is not tilted [m]."""
        return math.hypot(*(abs(self.pos[axis]) + self.half_size[axis] for axis in (0, 1)))

    def scaled(self, size: float, mass: float) -> BoxGeom:
        """The same with its lengths and its mass multiplied."""
        return replace(self, half_size=_times(self.half_size, size), pos=_times(self.pos, size), mass=self.mass * mass)

    def add_to(self, spec: mujoco.MjSpec, body: mujoco.MjsBody, name: str) -> mujoco.MjsGeom:
        """Add the geom to a body of a specification."""
        return body.add_geom(type=self._type, size=self.half_size, pos=self.pos, quat=self.quat_wxyz, mass=self.mass)


class EllipsoidGeom(BoxGeom):
    """An ellipsoid; ``half_size`` are its semi-axes."""

    _type = mujoco.mjtGeom.mjGEOM_ELLIPSOID


@dataclass(frozen=True)
class MeshGeom:
    """A convex polyhedron as part of an object.

    Attributes:
        vertices: in the object's frame [m].
        faces: triangles, as indices of vertices, counter-clockwise seen from outside.
        mass: [kg].
    """

    vertices: tuple[Vector, ...]
    faces: tuple[tuple[int, int, int], ...]
    mass: float

    @property
    def lowest_m(self) -> float:
        """Height of its lowest point in the object's frame [m]."""
        return min(vertex[2] for vertex in self.vertices)

    @property
    def footprint_m(self) -> float:
        """Radius of the circle around the frame's origin that it lies in, seen from above [m]."""
        return max(math.hypot(x, y) for x, y, _ in self.vertices)

    def scaled(self, size: float, mass: float) -> MeshGeom:
        """The same with its lengths and its mass multiplied."""
        return replace(self, vertices=tuple(_times(vertex, size) for vertex in self.vertices), mass=self.mass * mass)

    def add_to(self, spec: mujoco.MjSpec, body: mujoco.MjsBody, name: str) -> mujoco.MjsGeom:
        """Add mesh and geom to a specification."""
        mesh = spec.add_mesh(name=name, uservert=np.ravel(self.vertices), userface=np.ravel(self.faces))
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX
        return body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, mass=self.mass)


Geom = BoxGeom | MeshGeom


def _times(vector: Vector, factor: float) -> Vector:
    x, y, z = vector
    return (x * factor, y * factor, z * factor)


@dataclass(frozen=True)
class SceneObject:
    """A free body.

    Attributes:
        name: name of the body and of the frame the observation refers to.
        geoms: its parts.
        frame_offset: where the observed frame lies in the body's frame [m].
        frame: name of the frame that the observation knows it by; empty for the body's own name.
        rgba: colour.
        friction: of sliding on it, whatever it touches; None leaves it to the two surfaces, the rougher one counts.
        damping: of its motion through space, per axis [N s/m and N m s/rad].
    """

    name: str
    geoms: tuple[Geom, ...]
    frame_offset: Vector = (0.0, 0.0, 0.0)
    frame: str = ""
    rgba: tuple[float, float, float, float] = (0.20, 0.45, 0.75, 1.0)
    friction: float | None = None
    damping: float = 0.01

    @property
    def observed_as(self) -> str:
        """Name of the frame that the observation knows it by."""
        return self.frame or self.name

    @cached_property
    def rest_height_m(self) -> float:
        """Height of its origin over what it stands on [m]."""
        return -min(part.lowest_m for part in self.geoms)

    @cached_property
    def footprint_m(self) -> float:
        """Radius of the smallest circle around its origin that it stands inside, seen from above [m]."""
        return max(part.footprint_m for part in self.geoms)

    def scaled(self, size: float, mass: float) -> SceneObject:
        """The same with its lengths and its mass multiplied."""
        return replace(
            self,
            geoms=tuple(part.scaled(size, mass) for part in self.geoms),
            frame_offset=_times(self.frame_offset, size),
        )


@dataclass(frozen=True)
class Table:
    """A table whose top is at ``TABLE_TOP_M``.

    Attributes:
        centre: of the top, in world coordinates [m].
        half_size: half edge lengths of the top [m].
    """

    centre: tuple[float, float]
    half_size: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """What stands in front of the robot.

    Attributes:
        table: the table.
        objects: free bodies, in the order of their coordinates in the simulator's state.
        fixtures: what is fixed to the table; ``pos`` in world coordinates.
        friction: sliding, torsional and rolling friction of every surface; None leaves the model's own.
        friction_factor: factor on the sliding friction of every surface.
        gripper_blocked: the fingers have no motors and are held shut, as in the stock pushing environment.
    """

    table: Table
    objects: tuple[SceneObject, ...]
    fixtures: tuple[BoxGeom, ...] = ()
    friction: Vector | None = None
    friction_factor: float = 1.0
    gripper_blocked: bool = False


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


EXACT = get_profile("exact")
STOCK_TIMESTEP_S = EXACT.timestep_s
EMPTY = Scene(Table((1.3, 0.75), (0.25, 0.35)), ())


def build_model(scene: Scene, profile: Profile = EXACT, looks: bool = True) -> mujoco.MjModel:
    """Compile a scene as detailed as the profile says.

    Sensors, in this order: position and quaternion of the gripper link, position of the grip site, then position of
    the observed frame and quaternion of each object.

    Args:
        scene: what to build.
        profile: how detailed the physics is.
        looks: keep what a slim profile has for show only.

    Raises:
        SimulationError: the Fetch model is not installed.
    """
    spec = mujoco.MjSpec.from_file(str(asset_folder() / "pick_and_place.xml"))
    spec.delete(spec.body("object0"))
    table = spec.body("table0")
    table.pos = np.array([*scene.table.centre, constants.TABLE_TOP_M / 2])
    table.geoms[0].size = np.array([*scene.table.half_size, constants.TABLE_TOP_M / 2])
    if scene.gripper_blocked:
        for actuator in list(spec.actuators):
            spec.delete(actuator)
    for number, fixture in enumerate(scene.fixtures):
        geom = fixture.add_to(spec, spec.worldbody, f"fixture:{number}")
        geom.condim, geom.rgba = 3, FIXTURE_RGBA
    for item in scene.objects:
        _add_object(spec, item)
    if scene.friction is not None:
        for geom in spec.geoms:
            geom.friction = np.array(scene.friction)
    if scene.friction_factor != 1.0:
        for geom in spec.geoms:
            geom.friction = geom.friction * [scene.friction_factor, 1.0, 1.0]
    _add_sensors(spec, scene)
    spec.option.timestep = profile.timestep_s
    if profile.slim:
        _slim_down(spec, profile, looks)
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 960
    model = spec.compile()
    # The gripper follows the mocap body itself, not the offset between the two in the model's resting pose.
    welds = model.eq_type == mujoco.mjtEq.mjEQ_WELD
    model.eq_data[welds, :7] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    steps = round(profile.timestep_s / STOCK_TIMESTEP_S)
    for kind in ("eq", "geom", "jnt"):
        solref, solimp = getattr(model, f"{kind}_solref"), getattr(model, f"{kind}_solimp")
        solref[:], solimp[:, :2] = _as_if_finer(solref, solimp[:, :2], steps)
    for item in scene.objects:
        # Set in the compiled model: how a specification states damping differs between MuJoCo versions.
        first = model.jnt_dofadr[model.joint(f"{item.name}:joint").id]
        model.dof_damping[first : first + 6] = item.damping
    return model


def _slim_down(spec: mujoco.MjSpec, profile: Profile, looks: bool) -> None:
    """Fix base, torso and head where episodes start, and let of the robot only gripper and fingers collide."""
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
    # Few bodies: finding out which of them are independent costs more than it saves.
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND


def _strip_looks(spec: mujoco.MjSpec) -> None:
    """Delete what physics takes no notice of but MuJoCo moves along in every step."""
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
    """Parameters with which constraints act in one step as they do in several stock ones.

    Where nothing else pulls, a constraint's residual r obeys r'' = -b r' - k r, with b = 2 / tc and k = 1 / (tc dr)^2
    (MuJoCo's documentation of solver parameters). Stepped semi-implicitly at h, it follows
    z^2 - (2 - b h - k h^2) z + (1 - b h) = 0; several stock steps in one, the equation of the roots' powers, from which
    new b and k follow. Under a load a constraint gives way by (1 - d) / k times what the load alone would accelerate,
    and friction creeps by (1 - d) / b of it: with k and b, 1 - d becomes less.

    Args:
        solref: (n, 2) time constants tc [s] and damping ratios dr at stock steps.
        impedance: (n, 2) impedances d, of small and of large residuals.
        steps: how many stock steps one step is.

    Returns:
        The same at the coarse step.
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
        geom = part.add_to(spec, body, f"{item.name}:{number}")
        geom.condim, geom.rgba = 3, item.rgba
        if item.friction is not None:
            geom.friction = np.array([item.friction, *geom.friction[1:]])
            geom.priority = 1
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

    The objects are far away meanwhile. In the end the robot keeps its last traces of motion; the objects are at rest.
    """
    data = _resting(model)
    free = [joint for joint in range(model.njnt) if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE]
    for joint in free:
        address = model.jnt_qposadr[joint]
        # Spread out, so that nothing touches anything while the arm moves.
        data.qpos[address : address + 7] = [10.0 + 2.0 * joint, 10.0, 10.0, 1, 0, 0, 0]
    mujoco.mj_forward(model, data)
    mocap = model.body(constants.MOCAP_BODY).mocapid[0]
    data.mocap_pos[mocap] = _resting_grip_pos_w() + constants.START_OFFSET_M
    data.mocap_quat[mocap] = constants.GRIPPER_DOWN_WXYZ
    substeps = round(constants.CONTROL_PERIOD_S / model.opt.timestep)
    mujoco.mj_step(model, data, nstep=constants.START_SETTLE_STEPS * substeps)
    data.time = 0.0
    for joint in free:
        # They have been falling all the while.
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
    """(3,) the grip site in the stock model's resting pose [m], which a fixed torso stands a millimetre above."""
    model = build_model(EMPTY)
    data = _resting(model)
    mujoco.mj_forward(model, data)
    return data.site(constants.GRIP_SITE).xpos.copy()
