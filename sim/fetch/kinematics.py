"""Forward kinematics of the Fetch's arm, for robots that publish joint states but no end-effector pose."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco

from reskill_core.arrays import Float64Array
from reskill_core.errors import SimulationError
from reskill_sim.fetch import constants
from reskill_sim.fetch.model import build_model
from reskill_sim.fetch.scene import EMPTY


class GripperKinematics:
    """Pose of the gripper frame in the robot's base frame from joint positions.

    Args:
        joint_names: the joints whose positions will be given, in that order; all of the arm's must be among them.

    Raises:
        SimulationError: joints of the arm are missing, or there are unknown ones.
    """

    def __init__(self, joint_names: Sequence[str]) -> None:
        missing = [name for name in constants.ARM_JOINTS if name not in joint_names]
        unknown = [name for name in joint_names if name not in constants.JOINT_NAMES]
        if missing or unknown:
            raise SimulationError(f"joints for forward kinematics: missing {missing}, unknown {unknown}")
        self._model = build_model(EMPTY)
        self._data = mujoco.MjData(self._model)
        self._addresses = [
            int(self._model.jnt_qposadr[self._model.joint(constants.MODEL_PREFIX + name).id]) for name in joint_names
        ]

    def pose(self, joint_positions: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Position (3,) [m] and quaternion (4,), scalar first, of the gripper frame in the frame ``base_link``."""
        self._data.qpos[self._addresses] = joint_positions
        mujoco.mj_kinematics(self._model, self._data)
        # The base's axes are parallel to the model's.
        position = self._data.site(constants.GRIP_SITE).xpos - self._data.body(constants.BASE_BODY).xpos
        return position, self._data.body(constants.GRIPPER_BODY).xquat.copy()
