"""Schema of a demonstration shard: every array with type, shape, unit and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reskill_core.errors import DataError, SpecError
from reskill_core.labels import MAX_LABEL_BYTES
from reskill_core.spec import TaskSpec

FORMAT = "reskill_ros demonstrations"
FORMAT_VERSION = 3
# Files of version 1 have no images and no quantities other than velocities, those of versions 1 and 2 no labels;
# otherwise they are the same.
READABLE_VERSIONS = (1, 2, FORMAT_VERSION)
ACTION_LIMIT = 1.0  # Actions are stored clipped to [-1, 1].
MAX_SOURCE_BYTES = 64

# Attributes of a shard's root group.
ATTR_FORMAT = "format"
ATTR_VERSION = "format_version"
ATTR_TASK = "task"
ATTR_PROFILE = "profile"
ATTR_EPISODES = "num_episodes"
ATTR_STEPS = "num_steps"
ATTR_SPEC = "spec"
ATTR_PROVENANCE = "provenance"
# A JSON text of any length: attributes are limited to 64 KiB, a scalar data set is not.
EXTRA = "extra"
# Key of ``extra`` for the source data sets of a merged shard.
MERGED_FROM = "merged_from"


@dataclass(frozen=True)
class ArrayField:
    """Array of a shard.

    Attributes:
        name: its key, also the attribute of :class:`~reskill_core.data.episode.Episode` if there is one.
        dtype: numpy type, little endian.
        rows: one row per ``step`` of all episodes, or one per ``episode``.
        width: meaning of the second axis; None for one value per row.
        unit: unit of the values.
        meaning: one sentence.
        since: format version of the first files that have it; of earlier ones it is read as zeros or empty.
    """

    name: str
    dtype: str
    rows: Literal["step", "episode"]
    width: Literal["observation", "action", "sim_state", "digest"] | None
    unit: str
    meaning: str
    since: int = 1


ARRAYS = (
    ArrayField("observation", "<f4", "step", "observation", "per term", "observation before the step"),
    ArrayField("action", "<f4", "step", "action", "[-1, 1]", "the demonstrator's own noise-free action: the label"),
    ArrayField("executed_action", "<f4", "step", "action", "[-1, 1]", "the action executed, noise included"),
    ArrayField("reward", "<f4", "step", None, "1", "reward of the step"),
    ArrayField("sim_state", "<f8", "step", "sim_state", "simulator", "complete simulator state before the step"),
    ArrayField("episode_ends", "<i8", "episode", None, "step", "row after the episode's last step"),
    ArrayField("final_observation", "<f4", "episode", "observation", "per term", "observation after the last step"),
    ArrayField("seed", "<i8", "episode", None, "1", "seed of the episode; -1 if it has none"),
    ArrayField("success", "|b1", "episode", None, "bool", "the task was solved"),
    ArrayField("terminated", "|b1", "episode", None, "bool", "it ended in a terminal state"),
    ArrayField("truncated", "|b1", "episode", None, "bool", "it was cut off, by the horizon or from outside"),
    ArrayField("noise_scale", "<f4", "episode", None, "[-1, 1]", "noise scale of the demonstrator"),
    ArrayField("source", f"|S{MAX_SOURCE_BYTES}", "episode", None, "UTF-8", "name of the demonstrator or policy"),
    ArrayField("digest", "|u1", "episode", "digest", "1", "SHA-256 of the episode's rows of all arrays above"),
    ArrayField(
        "label", f"|S{MAX_LABEL_BYTES}", "episode", None, "UTF-8", "instruction or remark; empty: none", since=3
    ),
)
FIELDS = {item.name: item for item in ARRAYS}
ENDS = "episode_ends"
SIM_STATE = "sim_state"
DIGEST = "digest"
DIGEST_BYTES = 32
LABEL = "label"
# Arrays of an episode itself, without images and those that depend on its position in a shard.
EPISODE_FIELDS = tuple(item for item in ARRAYS if item.name not in (ENDS, DIGEST))
# Those that identify an episode; a label is only said about it.
DIGESTED_FIELDS = tuple(item for item in EPISODE_FIELDS if item.name != LABEL)


def image_blocks(name: str) -> str:
    """Return the key of an image feature's compressed frames; it differs from all keys of the table."""
    return f"image.{name}"


def image_ends(name: str) -> str:
    """Return the key of the ends of an image feature's blocks."""
    return f"image.{name}.ends"


@dataclass(frozen=True)
class DatasetSpec:
    """Specification shared by all episodes of a data set, which must match to append.

    Attributes:
        task: observation and action layout, control period, horizon.
        profile: simulator profile (such as ``exact``), or ``real`` for a real robot.
        sim_state_dim: length of the simulator state; 0 if there is none.
    """

    task: TaskSpec
    profile: str
    sim_state_dim: int = 0

    def width(self, field: ArrayField) -> int | None:
        """Return the length of an array's second axis; None if it has none."""
        if field.width is None:
            return None
        widths = {
            "observation": self.task.obs.dim,
            "action": self.task.action.dim,
            "sim_state": self.sim_state_dim,
            "digest": DIGEST_BYTES,
        }
        return widths[field.width]

    def row_shape(self, field: ArrayField) -> tuple[int, ...]:
        """Return the shape of one row of an array."""
        width = self.width(field)
        return () if width is None else (width,)

    def differences(self, other: DatasetSpec) -> list[str]:
        """List all differences between two specifications, as ``path: mine != theirs``."""
        found = [f"task.{difference}" for difference in self.task.differences(other.task)]
        for key in ("profile", "sim_state_dim"):
            mine, theirs = getattr(self, key), getattr(other, key)
            if mine != theirs:
                found.append(f"{key}: {mine!r} != {theirs!r}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Convert to nested dictionaries and lists, ready for JSON."""
        return {"task": self.task.to_dict(), "profile": self.profile, "sim_state_dim": self.sim_state_dim}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> DatasetSpec:
        """Parse the document of :meth:`to_dict`.

        Raises:
            DataError: keys are missing or unknown, or a value is impossible.
        """
        try:
            spec = cls(**{**document, "task": TaskSpec.from_dict(document["task"])})
        except (KeyError, TypeError, SpecError) as cause:
            raise DataError(f"not a data set specification: {cause}") from cause
        if not isinstance(spec.sim_state_dim, int) or spec.sim_state_dim < 0:
            raise DataError(f"sim_state_dim must be an integer of at least 0, got {spec.sim_state_dim!r}")
        return spec


def require_match(expected: DatasetSpec, got: DatasetSpec, what: str) -> None:
    """Refuse data of another kind.

    Raises:
        DataError: the specifications differ; lists every difference.
    """
    if got == expected:  # By far the most frequent case, and faster to check.
        return
    if differences := got.differences(expected):
        listed = "\n".join(f"  - {difference}" for difference in differences)
        raise DataError(f"{what} (its value != the value required):\n{listed}")
