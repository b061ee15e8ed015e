"""Parameters of recorder_node."""

from __future__ import annotations

from dataclasses import dataclass

from reskill_core.labels import label_fault
from reskill_core.parameters import parameter
from reskill_ros.plumbing.task_settings import SETTINGS

# Of a simulator that somebody else started.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class RecorderParameters:
    """Parameters of recorder_node."""

    task: str = parameter("block", "Task that is recorded.", read_only=True)
    skills: str = parameter("", "Checkpoint whose task is used instead; needs no simulator.", read_only=True)
    dataset: str = parameter(
        "runs/demonstrations", "Folder of the data set; an existing one is continued.", read_only=True
    )
    variation: str = parameter(
        UNKNOWN,
        "Randomisation of the simulator, as in its own parameter, stored with the data; empty: none.",
        read_only=True,
    )
    task_settings: str = parameter("", SETTINGS + " Stored with the data.", read_only=True)
    episodes: int = parameter(0, "Episodes to save before the node ends; 0 records until stopped.", low=0, high=10**9)
    driver_episodes: bool = parameter(
        True,
        "The driver publishes `episode`; otherwise ~/start and ~/stop delimit episodes, with a verdict.",
        read_only=True,
    )
    max_duration_s: float = parameter(
        0.0,
        "Without `driver_episodes`: time after which an episode ends by itself, as a failure cut off; 0: never [s].",
        low=0.0,
        high=86400.0,
    )
    label: str = parameter(
        "",
        "What is said about the episodes that start from now on, such as their instruction, unless ~/start or ~/stop "
        "says something else.",
    )
    auto_start: bool = parameter(True, "Record from the start, without ~/start.", read_only=True)
    keep_failures: bool = parameter(True, "Also save episodes that do not reach the goal.")
    keep_incomplete: bool = parameter(
        False,
        "Also save episodes with lost messages, up to the first gap, and the unfinished last episode; they count as "
        "truncated.",
    )
    patience_s: float = parameter(
        2.0,
        "Largest delay of messages after the end of their episode, and relative to each other [s].",
        low=0.0,
        high=3600.0,
    )
    min_free_gb: float = parameter(1.0, "Free disk space below which nothing is saved [GB].", low=0.0, high=1e6)

    def violations(self) -> list[str]:
        """Return why the label cannot be one."""
        fault = label_fault(self.label)
        return [f"label: {fault}"] if fault else []
