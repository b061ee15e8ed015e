"""Examination of the machine and of the ROS installation, without a graph."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import metadata

from reskill_core.checkpoint import load_checkpoint
from reskill_core.errors import ReskillError
from reskill_core.gate import GateConfig
from reskill_core.provenance import provenance
from reskill_core.runtime.loading import POLICY_KINDS
from reskill_core.spec import JOINT_POSITION, TaskSpec
from reskill_ros.plumbing.diagnostics import Level
from reskill_ros.plumbing.security import ENABLE, require_security
from reskill_ros.tools.doctor.findings import Finding

_OPTIONAL = {"mink": "commanding joints along a Cartesian path: pip install 'reskill-ros[arms]'"}


def examine_machine() -> Iterator[Finding]:
    """Versions and load."""
    section = "Machine"
    found = provenance()
    versions = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    yield Finding(section, Level.OK, f"Python {found['python']} on {platform.system()} {found['machine']}; {versions}")
    for package, purpose in _OPTIONAL.items():
        try:
            yield Finding(section, Level.OK, f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            yield Finding(section, Level.WARN, f"{package} is not installed", f"needed for {purpose}")
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores:
        text = f"load {load:.1f} on {cores} cores: ticks will be late"
        yield Finding(section, Level.WARN, text, "end other programs while a robot moves")
    else:
        yield Finding(section, Level.OK, f"load {load:.1f} on {cores} cores")


def examine_ros() -> Iterator[Finding]:
    """Distribution, middleware, discovery, security."""
    from rclpy.utilities import get_rmw_implementation_identifier

    section = "ROS 2"
    distribution = os.environ.get("ROS_DISTRO") or "from pip"
    yield Finding(section, Level.OK, f"{distribution}, {get_rmw_implementation_identifier()}")
    domain, scope = os.environ.get("ROS_DOMAIN_ID", "0"), os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    if scope == "SUBNET":
        yield Finding(
            section,
            Level.WARN,
            f"domain {domain}, discovery SUBNET: everybody in this network can command the robot",
            "export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST, if all nodes run on this machine",
        )
    else:
        yield Finding(section, Level.OK, f"domain {domain}, discovery {scope}")
    try:
        require_security()
    except ReskillError as error:
        yield Finding(section, Level.ERROR, str(error))
    else:
        state = "on" if os.environ.get(ENABLE) == "true" else "off: messages are neither encrypted nor signed"
        yield Finding(section, Level.OK, f"security {state}")


def examine_checkpoint(folder: str) -> Iterator[Finding]:
    """Integrity and contract of a checkpoint."""
    section = f"Checkpoint {folder}"
    try:
        checkpoint = load_checkpoint(folder, *POLICY_KINDS)
    except ReskillError as error:
        yield Finding(section, Level.ERROR, str(error))
        return
    task, digest = checkpoint.task, str(checkpoint.sha256)
    yield Finding(
        section,
        Level.OK,
        f"{checkpoint.kind} of task {task.name}, {task.control_rate_hz:g} Hz, {task.obs.dim} observed values, actions "
        f"{', '.join(task.action.names)}; SHA-256 {digest[:12]} and all files verified",
    )


def examine_gate(gate: GateConfig, task: TaskSpec) -> Iterator[Finding]:
    """Limits of a driver file."""
    section = "Limits"
    for fault in gate.misfits(task.action):
        yield Finding(section, Level.ERROR, fault)
    speed = f"speed_scale {gate.speed_scale:g}, max_step {', '.join(f'{step:g}' for step in gate.max_step)}"
    yield Finding(section, Level.OK, f"{speed}, commands time out after {gate.command_timeout_s:g} s")
    if gate.command_timeout_s < 2 * task.control_period_s:
        yield Finding(
            section,
            Level.WARN,
            f"command_timeout_s {gate.command_timeout_s:g} is shorter than two control periods, "
            f"{2 * task.control_period_s:g} s",
            "every late tick will stop the robot; use three periods",
        )
    if task.action.indices(JOINT_POSITION) and max(gate.max_step) >= 2.0:
        text = "joint positions may change by their whole range in one control period"
        yield Finding(section, Level.ERROR, text, "set gate.max_step for them")
    if len(task.action.end_effector) == 3 and not gate.workspace_low:
        text = "no workspace box"
        yield Finding(section, Level.WARN, text, "set gate.workspace_low and workspace_high, above the table")
    if not gate.disarm_after_s:
        text = "the gate never disarms, however long it holds"
        yield Finding(section, Level.WARN, text, "set gate.disarm_after_s on a real robot")
