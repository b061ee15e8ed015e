"""Configuration of the source of one frame's pose."""

from __future__ import annotations

from dataclasses import dataclass

from reskill_core.frames import RigidTransform, position_parameter, rotation_fault, rotation_parameter
from reskill_core.parameters import parameter
from reskill_ros.drivers.poses.detections import ARRAYS

TOPIC, TF = "topic", "tf"


@dataclass(frozen=True)
class PoseConfig:
    """Source of the pose of one frame."""

    kind: str = parameter(
        TOPIC,
        "`topic`: geometry_msgs/PoseStamped; `tf`: transform from `base_frame`; `detection3d_array`: "
        "vision_msgs/Detection3DArray; `aruco_detection`: aruco_opencv_msgs/ArucoDetection",
        choices=(TOPIC, TF, *ARRAYS),
    )
    topic: str = parameter(
        "", "topic of the poses or arrays; empty for kind `topic`: that of `topics`; empty for `tf`: it has its own"
    )
    name: str = parameter(
        "", "`tf`: name of the frame; arrays: id of the detection, or its most probable class; number of a marker"
    )
    offset_position: tuple[float, float, float] = position_parameter(
        "origin of the frame in what is published, such as the middle of a block in the frame of its tag"
    )
    offset_quat_wxyz: tuple[float, float, float, float] = rotation_parameter(
        "orientation of the frame in what is published"
    )

    def violations(self) -> list[str]:
        """List what a source of this kind lacks or has no use for, and an offset that is no rotation."""
        fault = rotation_fault(self.offset_quat_wxyz)
        faults = [f"offset_quat_wxyz: {fault}"] if fault else []
        if self.kind in ARRAYS and not self.topic:
            faults.append(f"topic: {self.kind} needs the topic of the array")
        if self.kind == TF and self.topic:
            faults.append(f"topic: tf has its own, topics.tf and topics.tf_static, got {self.topic!r}")
        if self.kind != TOPIC and not self.name:
            what = "the frame" if self.kind == TF else "the detection"
            faults.append(f"name: {self.kind} needs the name of {what}")
        if self.kind == TOPIC and self.name:
            faults.append(f"name: a pose topic has one pose, got {self.name!r}; for an array of them set kind")
        if self.kind == TF and self.name.startswith("/"):
            faults.append(f"name: tf frames have no leading slash, got {self.name!r}")
        return faults

    @property
    def offset(self) -> RigidTransform:
        """Transform from the frame to what is published."""
        return RigidTransform(self.offset_position, self.offset_quat_wxyz)
