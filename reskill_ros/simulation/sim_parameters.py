"""Parameters of sim_node."""

from __future__ import annotations

from dataclasses import dataclass

from reskill_core.parameters import MAX_SEED, parameter
from reskill_ros.plumbing.task_settings import SETTINGS

LOCKSTEP = "lockstep"


@dataclass(frozen=True)
class SimParameters:
    """Parameters of sim_node."""

    task: str = parameter("block", "Task to simulate.", read_only=True)
    profile: str = parameter("exact", "Fidelity profile of the simulator.", read_only=True)
    variation: tuple[str, ...] = parameter(
        (),
        "Randomisation per episode, as name=value or name=low:high entries: friction, mass, size, "
        "spawn, perception_noise, perception_bias, perception_delay, action_delay, lateness, speed, speed_limit, lag, "
        "overshoot, unsteadiness, force_limit, finger_start, nominal.",
        read_only=True,
    )
    task_settings: str = parameter("", SETTINGS, read_only=True)
    seed: int = parameter(
        0, "Seed of the first episode; the following ones count up from it.", low=0, high=MAX_SEED, read_only=True
    )
    episodes: int = parameter(
        0, "Episodes after which the node ends; 0 runs until stopped.", low=0, high=10**9, read_only=True
    )
    pacing: str = parameter(
        "realtime",
        "realtime follows the wall clock; lockstep waits for the command in response to each state.",
        choices=("realtime", LOCKSTEP),
        read_only=True,
    )
    real_time_factor: float = parameter(1.0, "Realtime pacing: simulated seconds per second.", low=1e-3, high=1e3)
    hold_until_ready: bool = parameter(
        False, "Wait until the first state has been responded to and acknowledged.", read_only=True
    )
    acknowledge_topics: tuple[str, ...] = parameter(
        (), "Topics on which each state must be acknowledged before the next lockstep.", read_only=True
    )
    auto_reset: bool = parameter(True, "Start the next episode when one has ended.")
    reset_on_divergence: bool = parameter(False, "Start the next episode when the physics has diverged.")
    array_command: str = parameter(
        "position",
        "Quantity on command/positions for components that command velocities.",
        choices=("position", "velocity"),
    )
    frame_id: str = parameter("world", "Name of the frame that poses are expressed in.", read_only=True)
    headless: bool = parameter(True, "Run without a window.", read_only=True)
    camera: bool = parameter(False, "Publish camera images, rendered off-screen.", read_only=True)
    camera_width: int = parameter(480, "Width of the camera images [pixels].", low=16, high=1280, read_only=True)
    camera_height: int = parameter(360, "Height of the camera images [pixels].", low=16, high=960, read_only=True)
    report: str = parameter("", "JSON file to write the episodes' results to at the end; empty for none.")
