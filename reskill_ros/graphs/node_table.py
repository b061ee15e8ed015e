"""The node table: which nodes, with which parameters, make up the graphs ``collect``, ``policy`` and ``replay``.

``launch/*.launch.py`` and ``reskill-up`` both start what :func:`build_graph` returns, from the same arguments, so
that they cannot drift apart::

    for argument in argument_table("collect"):  # name, default, description, choices: declare them
        ...
    arguments = parse_arguments("collect", {"task": "hook", "episodes": "5"})
    for entry in build_graph(arguments):
        ...  # entry.executable or entry.module, .name, .parameters, .remappings, .primary, .required
    # and of the arguments themselves: .namespace, .params_file (after the parameters, so that it wins), .log_level
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError, GraphError, require_choice
from reskill_core.parameters import MAX_SEED, parameter
from reskill_core.resources import shipped_model, shipped_models
from reskill_core.seeding import foreign_demonstrations
from reskill_core.yaml_text import parse_yaml
from reskill_ros.graphs.served_task import simulated_names
from reskill_ros.nodes.policy_parameters import PolicyOptions
from reskill_ros.recording.episode_store import next_seed

ParameterValue = bool | int | float | str | list[str]

SIMULATOR = "sim"
# Who must not miss a frame in lockstep confirms each one here; the simulator waits for it.
RECORDER_ACKNOWLEDGE = "recorder/acknowledge"
BAG_ACKNOWLEDGE = "bag_recorder/acknowledge"
# In lockstep simulated time waits for the action, so how long the wall clock runs meanwhile says nothing.
LOCKSTEP_TIMEOUT_S = 10.0
# The time-outs in the simulator's driver file, which are simulated time [s].
SIMULATOR_TIMEOUT_S = 0.5

_PACING = (
    "Simulator: lockstep waits for the action to each observation, exactly and as fast as the machine allows; "
    "realtime follows the wall clock."
)
_SIMULATED = simulated_names()
_KINDS = ("mixed", *dict.fromkeys(name for names in _SIMULATED.demonstrators.values() for name in names))


@dataclass(frozen=True)
class NodeEntry:
    """One process of a graph.

    Attributes:
        name: name of the node.
        module: Python module with its ``main``.
        parameters: ROS parameters that differ from the node's defaults.
        remappings: pairs (from, to) of topic or service names.
        primary: the graph ends, in order and with success, when this node has finished.
        required: the graph ends when this node fails; otherwise the others go on, and the failure still shows in
            the exit code.
        lifecycle: it is a managed node.
    """

    name: str
    module: str
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    primary: bool = False
    required: bool = True
    lifecycle: bool = False

    @property
    def executable(self) -> str:
        """The installed executable that ``ros2 run`` and launch files know it by."""
        return self.module.rpartition(".")[2]


@dataclass(frozen=True)
class Argument:
    """One argument of a graph, as people write it: ``name:=value``."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class GraphArguments:
    """What every graph takes."""

    namespace: str = parameter("", "Namespace of all nodes, topics and services; empty for none.")
    params_file: str = parameter("", "YAML file of ROS parameters; they win over the arguments given here.")
    log_level: str = parameter(
        "info", "Severity from which on nodes log.", choices=("debug", "info", "warn", "error", "fatal")
    )
    use_sim_time: str = parameter(
        "auto",
        "Whether nodes take the time from /clock; auto: in the graphs that publish it.",
        choices=("auto", "true", "false"),
    )
    autostart: bool = parameter(True, "Lifecycle nodes configure and activate themselves.")

    def violations(self) -> list[str]:
        """Files that are not there."""
        if self.params_file and not Path(self.params_file).is_file():
            return [f"params_file: there is no file {self.params_file}"]
        return []

    def nodes(self) -> list[NodeEntry]:
        """The graph's nodes, without what all nodes get alike."""
        raise NotImplementedError

    @property
    def publishes_clock(self) -> bool:
        """Whether a node of the graph publishes ``/clock``."""
        return True


@dataclass(frozen=True)
class RobotArguments(GraphArguments):
    """What the graphs that move a robot take."""

    task: str = parameter("block", "Task to run.", choices=_SIMULATED.tasks)
    driver: str = parameter(SIMULATOR, "Robot: sim, another name in config/drivers, or the path of a driver file.")
    seed: int = parameter(
        0, "Simulator: seed of the first episode; the following ones count up from it.", low=-1, high=MAX_SEED
    )
    pacing: str = parameter("lockstep", _PACING, choices=("lockstep", "realtime"))
    real_time_factor: float = parameter(
        1.0, "Simulator, realtime pacing: simulated seconds per second.", low=1e-3, high=1e3
    )
    profile: str = parameter("exact", "Simulator: fidelity profile.", choices=_SIMULATED.profiles)
    variation: str = parameter(
        "", "Simulator: how the world varies from episode to episode, like 'friction=0.5:1.5 action_delay=1'."
    )
    dry_run: bool = parameter(False, "Publish commands below shadow/, where no driver listens.")
    headless: bool = parameter(True, "Simulator: without a window.")
    camera: bool = parameter(False, "Simulator: publish camera images, rendered off-screen.")

    def violations(self) -> list[str]:
        """As of all graphs, and a simulator that would wait for what never comes."""
        found = super().violations()
        if self.dry_run and self.lockstep:
            found.append("dry_run: in lockstep the simulator would wait for a command forever; add pacing:=realtime")
        return found

    @property
    def simulated(self) -> bool:
        """Whether the robot is our simulator."""
        return self.driver == SIMULATOR

    @property
    def publishes_clock(self) -> bool:
        """The simulator does; a robot runs on the system's clock."""
        return self.simulated

    @property
    def lockstep(self) -> bool:
        """Whether simulated time waits for the actions."""
        return self.simulated and self.pacing == "lockstep"

    def robot_nodes(self, acknowledge: list[str], **sim: ParameterValue) -> list[NodeEntry]:
        """Simulator, observation and command node: everything around the node that decides.

        Args:
            acknowledge: topics on which the simulator awaits a confirmation of each frame.
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
                # In a dry run nobody answers, and the robot stands still anyway.
                "hold_until_ready": not self.dry_run,
                # An empty list has no type that ROS could tell.
                **({"variation": self.variation.split()} if self.variation else {}),
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
        return [*([sim_node] if self.simulated else []), observation_node, command_node]

    @property
    def recorded_world(self) -> dict[str, ParameterValue]:
        """Parameter that tells a recorder how the simulated world varies."""
        return {"variation": self.variation} if self.simulated else {}

    @property
    def served_task(self) -> dict[str, ParameterValue]:
        """Parameters that tell a node which task it serves."""
        return {"task": self.task}

    def _patience(self, name: str) -> dict[str, ParameterValue]:
        """A time-out on the wall clock, where the simulator goes slower than that."""
        if self.lockstep:
            return {name: LOCKSTEP_TIMEOUT_S}
        if self.simulated and self.real_time_factor < 1.0:
            return {name: SIMULATOR_TIMEOUT_S / self.real_time_factor}
        return {}


@dataclass(frozen=True)
class CollectArguments(RobotArguments):
    """Arguments of the graph that records demonstrations."""

    task: str = parameter("block", "Task to demonstrate.", choices=tuple(_SIMULATED.demonstrators))
    seed: int = parameter(
        -1,
        "Simulator: seed of the first episode; -1 goes on after the highest one in the data set.",
        low=-1,
        high=MAX_SEED,
    )
    episodes: int = parameter(
        10, "Episodes to add to the data set in this run; 0 records until stopped.", low=0, high=10**9
    )
    dataset: str = parameter("runs/demonstrations", "Folder of the data set; an existing one is continued.")
    demonstrator: str = parameter("mixed", "Controller that demonstrates; mixed draws one per episode.", choices=_KINDS)
    noise_scale: float = parameter(
        -1.0, "Noise on the demonstrator's actions; negative: drawn anew for each episode.", low=-1.0, high=10.0
    )
    keep_failures: bool = parameter(False, "Also record episodes that do not reach the goal.")

    def nodes(self) -> list[NodeEntry]:
        """Robot, demonstrator, and the recorder, which decides when it is enough.

        Raises:
            GraphError: the episodes are not for demonstrations.
        """
        demonstrator = NodeEntry(
            "demonstrator_node",
            "reskill_ros.nodes.demonstrator_node",
            {"task": self.task, "kind": self.demonstrator, "noise_scale": self.noise_scale},
        )
        recorder = NodeEntry(
            "recorder_node",
            "reskill_ros.nodes.recorder_node",
            {
                "task": self.task,
                "dataset": self.dataset,
                "episodes": self.episodes,
                "keep_failures": self.keep_failures,
                "driver_episodes": self.simulated,
                "auto_start": self.simulated,
                **self.recorded_world,
            },
            primary=self.episodes > 0,
        )
        seed = next_seed(Path(self.dataset)) if self.simulated and self.seed < 0 else self.seed
        if self.simulated and (faults := foreign_demonstrations(seed, self.episodes, "seed")):
            raise GraphError(faults[0])
        return [*self.robot_nodes([RECORDER_ACKNOWLEDGE], seed=seed), demonstrator, recorder]


@dataclass(frozen=True)
class SkillArguments(PolicyOptions):
    """What the graphs with a policy take beside the others."""

    def missing_skills(self) -> list[str]:
        """What is wrong with where the policy is to come from."""
        return [] if self.skills in shipped_models() else _missing("skills", self.skills)

    def policy_node(self, **further: ParameterValue) -> NodeEntry:
        """The policy, with further parameters."""
        parameters = {**{item.name: getattr(self, item.name) for item in fields(PolicyOptions)}, **further}
        return NodeEntry("policy_node", "reskill_ros.nodes.policy_node", parameters, lifecycle=True)


@dataclass(frozen=True)
class PolicyArguments(RobotArguments, SkillArguments):
    """Arguments of the graph that lets a skill policy drive the robot.

    In the simulator, ``skills`` may be left out: what ships with the package for the task is taken.
    """

    pacing: str = parameter("realtime", _PACING, choices=("lockstep", "realtime"))
    episodes: int = parameter(
        0, "Simulator: episodes after which the graph ends; 0 runs until stopped.", low=0, high=10**9
    )
    dataset: str = parameter("", "Folder of a data set to record all episodes into; empty for none.")
    bag: str = parameter("", "Folder of a new bag to record the graph's topics into; empty for none.")
    report: str = parameter("", "JSON file to write the episodes' results to at the end; empty: only print them.")

    def __post_init__(self) -> None:
        """Fill in the shipped skills or agent."""
        if self.simulated and not self.skills:
            object.__setattr__(self, "skills", shipped_model(self.task))

    @property
    def served_task(self) -> dict[str, ParameterValue]:
        """On a robot, the task that the skills were made for, which needs no simulator."""
        return {"task": self.task} if self.simulated else {"skills": self.skills}

    def violations(self) -> list[str]:
        """As of all robots, and what a policy is made of."""
        found = super().violations() + self.missing_skills()
        if self.episodes and not self.simulated:
            found.append(f"episodes: only the simulator has episodes, driver is {self.driver}")
        if self.bag and Path(self.bag).exists():
            found.append(f"bag: {self.bag} exists already; bags are never overwritten")
        return found

    def nodes(self) -> list[NodeEntry]:
        """Robot, policy, and the recorders that were asked for."""
        acknowledge = [
            topic for topic, path in ((RECORDER_ACKNOWLEDGE, self.dataset), (BAG_ACKNOWLEDGE, self.bag)) if path
        ]
        entries = self.robot_nodes(acknowledge, seed=self.seed, episodes=self.episodes, report=self.report)
        entries.append(self.policy_node(**({"task": self.task} if self.simulated else {})))
        if self.dataset:
            own_episodes = {"driver_episodes": self.simulated, "auto_start": self.simulated}
            parameters = {**self.served_task, "dataset": self.dataset, **own_episodes, **self.recorded_world}
            entries.append(NodeEntry("recorder_node", "reskill_ros.nodes.recorder_node", parameters))
        if self.bag:
            # A robot must not stop for the sake of a bag; the simulator waits for it anyway.
            parameters = {"bag": self.bag, "acknowledge": self.simulated}
            module = "reskill_ros.nodes.bag_recorder_node"
            entries.append(NodeEntry("bag_recorder_node", module, parameters, required=self.simulated))
        return entries


@dataclass(frozen=True)
class ReplayArguments(GraphArguments, SkillArguments):
    """Arguments of the graph that feeds recorded observations to a policy and compares its actions."""

    bag: str = parameter("", "Bag with observations and the actions that answered them.")
    recorded_namespace: str = parameter("", "Namespace of the recorded graph; empty: the only one in the bag.")
    task: str = parameter("", "Task that was recorded; empty: the one that the skills were made for.")
    tolerance: float = parameter(0.0, "Largest difference of an action that counts as equal.", low=0.0, high=1e3)
    report: str = parameter("", "JSON file to write the comparison to; empty: only print it.")

    def violations(self) -> list[str]:
        """As of all graphs, and what is compared with what."""
        return super().violations() + _missing("bag", self.bag) + self.missing_skills()

    def nodes(self) -> list[NodeEntry]:
        """The bag's player and the policy."""
        replay = NodeEntry(
            "replay_node",
            "reskill_ros.nodes.replay_node",
            {
                "bag": self.bag,
                "namespace": self.recorded_namespace,
                "task": self.task,
                "skills": self.skills,
                "tolerance": self.tolerance,
                "report": self.report,
            },
            primary=True,
        )
        return [replay, self.policy_node(task=self.task)]


GRAPHS: dict[str, type[GraphArguments]] = {
    "collect": CollectArguments,
    "policy": PolicyArguments,
    "replay": ReplayArguments,
}


def argument_table(graph: str) -> list[Argument]:
    """The arguments of a graph, those of its own first.

    Raises:
        ConfigError: there is no such graph.
    """
    require_choice("graph", graph, tuple(GRAPHS))
    common = [item.name for item in fields(GraphArguments)]
    ordered = sorted(fields(GRAPHS[graph]), key=lambda item: item.name in common)
    return [
        Argument(item.name, _text(item.default), item.metadata["description"], item.metadata["choices"])
        for item in ordered
    ]


def parse_arguments(graph: str, values: Mapping[str, str]) -> GraphArguments:
    """Arguments of a graph from text.

    Args:
        graph: ``collect``, ``policy`` or ``replay``.
        values: text by name; the others keep their defaults.

    Raises:
        ConfigError: there is no such graph.
        GraphError: lists every unknown name and every invalid value.
    """
    require_choice("graph", graph, tuple(GRAPHS))
    hints = get_type_hints(GRAPHS[graph])
    document: dict[str, Any] = {}
    try:
        for name, text in values.items():
            # What is a string stays as it was written, whatever YAML would read into it.
            is_text = hints.get(name, str) is str
            document[name] = text if is_text else parse_yaml(text, f"{name}:={text}", ConfigError)
        return config_from_dict(GRAPHS[graph], document, source=f"arguments of {graph}")
    except ConfigError as error:
        raise GraphError(f"{error}\n`reskill-up {graph} --help` describes the arguments") from error


def build_graph(arguments: GraphArguments) -> list[NodeEntry]:
    """The nodes that make up a graph, in the order in which they are started."""
    use_sim_time = {"auto": arguments.publishes_clock, "true": True, "false": False}[arguments.use_sim_time]
    entries = []
    for entry in arguments.nodes():
        # Whoever publishes the clock must not live by it.
        owns_clock = entry.executable in ("sim_node", "replay_node")
        common: dict[str, Any] = {} if owns_clock else {"use_sim_time": use_sim_time}
        if entry.lifecycle:
            # Somebody who starts a whole graph wants to know at once that it cannot work.
            common |= {"autostart": arguments.autostart, "must_start": True}
        # Everything else is relative to the namespace; with a clock of its own, two robots do not disturb each other.
        clock = (("/clock", "clock"),) if arguments.namespace else ()
        parameters = {**common, **entry.parameters}
        entries.append(replace(entry, parameters=parameters, remappings=(*entry.remappings, *clock)))
    return entries


def _missing(name: str, path: str) -> list[str]:
    if not path:
        return [f"{name}: is required, give {name}:=<path>"]
    return [] if Path(path).exists() else [f"{name}: there is no {path}"]


def _text(value: Any) -> str:
    """As it is written on a command line and in a launch file."""
    return str(value).lower() if isinstance(value, bool) else str(value)
