"""Arguments and nodes shared by the graphs that control a robot."""

from __future__ import annotations

from dataclasses import dataclass

from reskill_core.errors import ConfigError
from reskill_core.parameters import MAX_SEED, parameter
from reskill_ros.graphs.graph_arguments import GraphArguments
from reskill_ros.graphs.node_entry import NodeEntry, ParameterValue
from reskill_ros.graphs.simulated_names import SIMULATED
from reskill_ros.plumbing.task_settings import SETTINGS, parse_settings

SIMULATOR = "sim"
# In lockstep, simulated time waits for the action, so that wall-clock time-outs are not meaningful.
LOCKSTEP_TIMEOUT_S = 10.0
# Time-outs of the simulator's driver file, in simulated time [s].
SIMULATOR_TIMEOUT_S = 0.5
LABEL = "Label of the recorded episodes, such as the instruction that they follow; empty for none."
PACING = (
    "Simulator: lockstep waits for the action to each observation, reproducibly and as fast as possible; "
    "realtime follows the wall clock."
)


@dataclass(frozen=True)
class RobotArguments(GraphArguments):
    """Arguments of graphs that control a robot."""

    task: str = parameter("block", "Task to run.", choices=SIMULATED.tasks)
    driver: str = parameter(SIMULATOR, "Robot: sim, another name in config/drivers, or the path of a driver file.")
    seed: int = parameter(
        0, "Simulator: seed of the first episode; the following ones count up from it.", low=-1, high=MAX_SEED
    )
    pacing: str = parameter("lockstep", PACING, choices=("lockstep", "realtime"))
    real_time_factor: float = parameter(
        1.0, "Simulator, realtime pacing: simulated seconds per second.", low=1e-3, high=1e3
    )
    profile: str = parameter("exact", "Simulator: fidelity profile.", choices=SIMULATED.profiles)
    variation: str = parameter(
        "", "Simulator: randomisation per episode, for example 'friction=0.5:1.5 action_delay=1'."
    )
    task_settings: str = parameter("", SETTINGS)
    dry_run: bool = parameter(False, "Publish commands below shadow/, without effect on the driver.")
    headless: bool = parameter(True, "Simulator: without a window.")
    viewer: bool = parameter(False, "Live view in the browser, at http://127.0.0.1:8080, and as markers.")
    camera: bool = parameter(False, "Simulator: publish camera images, rendered off-screen.")

    def violations(self) -> list[str]:
        """List the violations of common arguments, and a lockstep that would wait forever."""
        found = super().violations()
        try:
            parse_settings(self.task_settings)
        except ConfigError as error:
            found.append(str(error))
        if self.dry_run and self.lockstep:
            found.append("dry_run: in lockstep the simulator would wait for a command forever; add pacing:=realtime")
        return found

    @property
    def simulated(self) -> bool:
        """Whether the robot is the simulator of this package."""
        return self.driver == SIMULATOR

    @property
    def publishes_clock(self) -> bool:
        """Whether ``/clock`` is published: by the simulator, but not by a robot, which uses the system clock."""
        return self.simulated

    @property
    def lockstep(self) -> bool:
        """Whether simulated time waits for the actions."""
        return self.simulated and self.pacing == "lockstep"

    def robot_nodes(self, acknowledge: list[str], **sim: ParameterValue) -> list[NodeEntry]:
        """Return simulator, observation and command node, that is, all nodes except policy and recorders.

        Args:
            acknowledge: topics on which the simulator waits for the acknowledgement of each frame.
            sim: further parameters of the simulator.
        """
        sim_node = NodeEntry(
            "sim_node",
            "reskill_ros.nodes.sim_node",
            {
                "task": self.task,
                "pacing": self.pacing,
                "real_time_factor": self.real_time_factor,
                "headless": self.headless,
                "camera": self.camera,
                "profile": self.profile,
                # In a dry run no commands arrive and the robot does not move.
                "hold_until_ready": not self.dry_run,
                # ROS cannot determine the type of an empty list.
                **({"variation": self.variation.split()} if self.variation else {}),
                **self.chosen_settings,
                **({"acknowledge_topics": acknowledge} if acknowledge else {}),
                **sim,
            },
            primary=bool(sim.get("episodes")),
        )
        served: dict[str, ParameterValue] = {**self.served_task, "driver": self.driver}
        observation_node = NodeEntry(
            "observation_node", "reskill_ros.nodes.observation_node", {**served, **self._patience("obs_timeout_s")}
        )
        command_node = NodeEntry(
            "command_node",
            "reskill_ros.nodes.command_node",
            {**served, "auto_arm": self.simulated, "dry_run": self.dry_run, **self._patience("gate.command_timeout_s")},
            lifecycle=True,
        )
        viewer_node = NodeEntry("viewer_node", "reskill_ros.nodes.viewer_node", served, required=False)
        return [
            *([sim_node] if self.simulated else []),
            observation_node,
            command_node,
            *([viewer_node] if self.viewer else []),
        ]

    @property
    def chosen_settings(self) -> dict[str, ParameterValue]:
        """Parameter of simulator, demonstrator and recorder with the settings of the task, if there are any."""
        return {"task_settings": self.task_settings} if self.task_settings else {}

    @property
    def recorded_world(self) -> dict[str, ParameterValue]:
        """Parameters of the recorder with randomisation and settings of the simulated task."""
        return {"variation": self.variation, **self.chosen_settings} if self.simulated else {}

    @property
    def served_task(self) -> dict[str, ParameterValue]:
        """Parameters that select the task of a node."""
        return {"task": self.task}

    def _patience(self, name: str) -> dict[str, ParameterValue]:
        """Return a longer wall-clock time-out if the simulator runs slower than real time."""
        if self.lockstep:
            return {name: LOCKSTEP_TIMEOUT_S}
        if self.simulated and self.real_time_factor < 1.0:
            return {name: SIMULATOR_TIMEOUT_S / self.real_time_factor}
        return {}
