"""Planar base in a maze, on MuJoCo: a ball on two slides, with the walls around it.

One model serves all mazes. Only walls within a ball's reach can touch it, and these are among the four cells around the
nearest corner of the grid. So the model has four boxes, which are put on those of the four cells that are walls in each
control step, which is one step of integration.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import mujoco
import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float64Array, IntArray
from reskill_core.observation import SensorFrame
from reskill_core.spec import ImageFeature
from reskill_sim.engine.mechanism import Integrate, Mechanism
from reskill_sim.engine.task import EpisodeStart
from reskill_sim.maze import constants
from reskill_sim.maze.layouts import Layout, centre
from reskill_sim.maze.painter import Painter
from reskill_sim.maze.wall_table import WallTable

if TYPE_CHECKING:
    from reskill_sim.maze.tasks import MazeTask

_STATE = mujoco.mjtState
# Sensor whose value is the number of the scene, so that control knows it.
_SCENE = "scene"
_NUM_BOXES = 4
_AWAY = (-10.0, -10.0)
_GOAL_SITE = "goal"


class PlanarBase(Mechanism):
    """Planar base with the mazes of a task.

    Args:
        task: the task.
    """

    frames = MappingProxyType({})
    joint_names = constants.JOINTS
    control_spec = int(_STATE.mjSTATE_CTRL | _STATE.mjSTATE_MOCAP_POS)

    def __init__(self, task: MazeTask) -> None:
        self._task = task
        super().__init__()
        self._walls = WallTable(task.settings.size, task.layout)
        self._painter = Painter(self._walls)
        self._scene = self.sensors[_SCENE]

    def model_of(self, scene: int) -> mujoco.MjModel:
        """Return the model of all scenes."""
        return super().model_of(0)

    def compiled(self, scene: int, looks: bool = False) -> mujoco.MjModel:
        """Compile the model; with all walls of a scene, floor and goal if ``looks``."""
        return _whole_maze(self._task.layout(scene)) if looks else _model(_NUM_BOXES).compile()

    def start_state(self) -> mujoco.MjData:
        """Return a base at rest."""
        return mujoco.MjData(self.model)

    def place(self, physics: Float64Array, sensors: Float64Array, starts: Sequence[EpisodeStart]) -> None:
        """Set the base to the start of episodes."""
        physics[:, self.layout.qpos] = [start.object_poses[0, :2] for start in starts]
        sensors[:, self._scene] = [[start.scene] for start in starts]

    def control(self, physics: Float64Array, sensors: Float64Array, actions: Float64Array) -> Float64Array:
        """Compute commanded velocities, and the places of the boxes."""
        cells = np.floor(physics[:, self.layout.qpos] - 0.5).astype(np.int64)
        around = cells[:, None] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        walls = self._walls.at(sensors[:, self._scene][:, 0].astype(np.int64), around)
        boxes = np.zeros((len(physics), _NUM_BOXES, 3))
        boxes[..., :2] = np.where(walls[..., None], centre(around), _AWAY)
        return np.concatenate([actions * constants.MAX_SPEED, boxes.reshape(len(physics), -1)], axis=1)

    def advance(
        self, integrate: Integrate, physics: Float64Array, sensors: Float64Array, actions: Float64Array, substeps: int
    ) -> tuple[Float64Array, Float64Array]:
        """Simulate one control period."""
        physics, _ = integrate(physics, self.control(physics, sensors, actions), substeps)
        return physics, sensors.copy()

    # ------------------------------------------------------------------ joints

    def joint_columns(self, names: Sequence[str]) -> IntArray:
        """Return the columns of joint positions in the physical state."""
        return self.layout.qpos.start + np.array([constants.JOINTS.index(name) for name in names], np.int64)

    def joint_positions(self, qpos: Float64Array) -> Float64Array:
        """(2,) position of the base [m]."""
        return qpos.copy()

    def joint_velocities(self, qvel: Float64Array) -> Float64Array:
        """(2,) velocity of the base [m/s]."""
        return qvel.copy()

    # ------------------------------------------------------------------ pictures

    def paint(self, image: ImageFeature, frame: SensorFrame, scenes: IntArray) -> NDArray[np.uint8]:
        """Paint the views (n, 32, 32, 3) around the bases."""
        return self._painter.paint(frame.joint_pos, frame.frame_pos_w[:, 0, :2], scenes)

    def view(self, position: Float64Array, goal: Float64Array, scene: int) -> NDArray[np.uint8]:
        """Paint the view (32, 32, 3) around a base at a position (2,) [m], with a goal (2,) [m] in a scene."""
        return self._painter.paint(position[None], goal[None], np.array([scene]))[0]

    def show_goal(self, model: mujoco.MjModel, goal_pos_w: Float64Array) -> None:
        """Move the goal's mark."""
        model.site_pos[model.site(_GOAL_SITE).id, :2] = goal_pos_w[:2]

    @property
    def camera(self) -> mujoco.MjvCamera:
        """Camera above the whole maze, with x to the right and y up."""
        size = self._task.settings.size
        return looking_down(np.full(2, size / 2.0), 0.52 * size / np.tan(np.radians(22.5)))


def looking_down(position: Float64Array, distance_m: float) -> mujoco.MjvCamera:
    """Camera above a position (2,) [m], with x to the right and y up."""
    camera = mujoco.MjvCamera()
    camera.lookat[:] = [*position, 0.0]
    camera.distance, camera.azimuth, camera.elevation = distance_m, 90.0, -90.0
    return camera


def _model(num_boxes: int) -> mujoco.MjSpec:
    """The base, with movable boxes for walls."""
    spec = mujoco.MjSpec()
    spec.option.timestep = constants.CONTROL_PERIOD_S
    spec.option.gravity = [0.0, 0.0, 0.0]
    spec.option.iterations = 20
    spec.add_sensor(name=_SCENE, type=mujoco.mjtSensor.mjSENS_USER, dim=1)
    body = spec.worldbody.add_body(name="base")
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        size=[constants.RADIUS_M, 0.0, 0.0],
        density=constants.DENSITY,
        rgba=_rgba(constants.BASE_RGB),
        contype=1,
        conaffinity=2,
        condim=1,
        margin=0.002,
    )
    for name, axis in zip(constants.JOINTS, np.eye(3), strict=False):
        body.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=axis, damping=[constants.DAMPING, 0.0, 0.0])
        motor = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.set_to_velocity(kv=constants.MASS_KG / constants.SERVO_TIME_S)
        motor.forcelimited, motor.forcerange = True, [-constants.MAX_FORCE_N, constants.MAX_FORCE_N]
    for number in range(num_boxes):
        _add_wall(spec.worldbody.add_body(name=f"wall{number}", mocap=True, pos=[*_AWAY, 0.0]), np.zeros(2))
    return spec


def _whole_maze(layout: Layout) -> mujoco.MjModel:
    """The base in a whole maze, with floor and marks: to be drawn."""
    spec = _model(0)
    for cell in np.argwhere(layout.walls):
        _add_wall(spec.worldbody, centre(cell))
    # The texture of the floor is even around its centre.
    middle = 2.0 * round(layout.size / 4.0)
    # Evenly lit, so that colours are as they are given.
    headlight = spec.visual.headlight
    headlight.ambient, headlight.diffuse, headlight.specular = np.ones(3), np.zeros(3), np.zeros(3)
    texture = spec.add_texture(
        name="floor", type=mujoco.mjtTexture.mjTEXTURE_2D, builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER
    )
    texture.width = texture.height = 64
    even, wall = (np.array(_rgba(rgb)[:3]) for rgb in (constants.FLOOR_RGB, constants.WALL_RGB))
    texture.rgb1, texture.rgb2 = even + constants.ODD_SHARE * (wall - even), even
    floor = spec.add_material(name="floor", texrepeat=[1.0, 1.0], texuniform=True)
    floor.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "floor"
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[layout.size, layout.size, 1.0],
        pos=[middle, middle, -constants.WALL_HALF_HEIGHT_M],
        material="floor",
        contype=0,
        conaffinity=0,
    )
    mark = {"type": mujoco.mjtGeom.mjGEOM_CYLINDER, "size": [constants.MARK_M, 0.01, 0.0]}
    spec.worldbody.add_site(name=_GOAL_SITE, rgba=_rgba(constants.GOAL_RGB), pos=[0.0, 0.0, -0.15], **mark)
    spec.body("base").add_site(name="base", rgba=_rgba(constants.BASE_RGB), pos=[0.0, 0.0, 0.19], **mark)
    return spec.compile()


def _add_wall(body: mujoco.MjsBody, position: Float64Array) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[0.5, 0.5, constants.WALL_HALF_HEIGHT_M],
        pos=[*position, 0.0],
        rgba=_rgba(constants.WALL_RGB),
        contype=2,
        conaffinity=1,
        condim=1,
        margin=0.002,
    )


def _rgba(rgb: tuple[int, int, int]) -> list[float]:
    return [*(part / 255.0 for part in rgb), 1.0]
