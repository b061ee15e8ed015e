"""Command-line arguments shared by several subcommands."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from reskill_core.config import load_config, parse_overrides
from reskill_core.errors import ConfigError
from reskill_core.parameters import written
from reskill_core.resources import find_config

if TYPE_CHECKING:
    from reskill_sim.engine.variation import Variation

Subparsers: TypeAlias = "argparse._SubParsersAction[Any]"

T = TypeVar("T")
N = TypeVar("N", int, float)

# A path that matches can be given with a leading ./ instead.
_OVERRIDE = re.compile(r"[^/=]*=")


def add_verb(
    subparsers: Subparsers, name: str, handler: Callable[[argparse.Namespace], int], summary: str, *examples: str
) -> argparse.ArgumentParser:
    """Add a subcommand whose ``handler`` takes the parsed arguments and returns the exit code."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=handler)
    return parser


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add arguments for a configuration file and dotted overrides."""
    parser.usage = "%(prog)s [-h] [--quiet] CONFIG [KEY=VALUE ...]"
    parser.add_argument(
        "given",
        nargs="+",
        metavar="CONFIG KEY=VALUE",
        help="a YAML file: a path, or a shipped one (collect/block.yaml); and, in any position, overrides of single "
        "values",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_variation_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument for randomisation."""
    parser.add_argument(
        "--vary",
        nargs="+",
        default=[],
        metavar="NAME=LOW:HIGH",
        help="randomise every episode: friction, mass and size (factors), spawn (factor, one value), "
        "perception_noise and perception_bias [m], perception_delay, action_delay and lateness [control steps], speed "
        "and speed_limit of the arm (factor, share of full speed), its lag [s], overshoot and unsteadiness (shares), "
        "force_limit [N], finger_start [m], nominal (probability, one value); a single value is fixed",
    )


def read_variation(options: argparse.Namespace) -> Variation:
    """Parse the argument of :func:`add_variation_argument`."""
    from reskill_sim.engine.variation import parse_variation

    return parse_variation(options.vary)


def add_settings_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the argument for settings of the task, with a description of their default."""
    parser.add_argument(
        "--task-settings",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help=f"settings of the task, if it has any, with values in YAML (default: {default})",
    )


def read_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Parse the argument of :func:`add_settings_argument`."""
    return parse_overrides(options.task_settings)


def read_config(cls: type[T], options: argparse.Namespace) -> T:
    """Load the configuration given by the arguments of :func:`add_config_arguments`.

    Raises:
        ConfigError: there is no such file, not exactly one, or it is invalid.
    """
    overrides = [text for text in options.given if _OVERRIDE.match(text)]
    files = [text for text in options.given if text not in overrides]
    if len(files) != 1:
        raise ConfigError(f"give one configuration file, and changes as KEY=VALUE; got {', '.join(files) or 'none'}")
    return load_config(cls, find_config(files[0]), overrides)


def number(kind: type[N], low: N, high: N) -> Callable[[str], N]:
    """Return an argument type for numbers in a range, bounds included."""

    def convert(text: str) -> N:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be from {written(low)} to {written(high)}, got {text[:40]}")
        return value

    return convert
