"""What several verbs have in common on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from reskill_core.config import load_config
from reskill_core.resources import find_config

if TYPE_CHECKING:
    from reskill_sim.variation import Variation

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

T = TypeVar("T")


def add_verb(
    subparsers: Subparsers, name: str, handler: Callable[[argparse.Namespace], int], summary: str, *examples: str
) -> argparse.ArgumentParser:
    """Add a verb whose ``handler`` takes the parsed arguments and returns the exit code."""
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
    """Add a configuration file and dotted overrides."""
    parser.add_argument(
        "config", metavar="CONFIG", help="a YAML file: a path, or one that ships with the package (collect/block.yaml)"
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="change single values of the configuration")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_variation_argument(parser: argparse.ArgumentParser) -> None:
    """Add how a task's world varies."""
    parser.add_argument(
        "--vary",
        nargs="+",
        default=[],
        metavar="NAME=LOW:HIGH",
        help="vary the world from episode to episode: friction, mass and size (factors), spawn (factor, one value), "
        "perception_noise [m], perception_delay and action_delay [control steps]; a single value is a fixed one",
    )


def read_variation(options: argparse.Namespace) -> Variation:
    """The variation that :func:`add_variation_argument` describes."""
    from reskill_sim.variation import parse_variation

    return parse_variation(options.vary)


def read_config(cls: type[T], options: argparse.Namespace) -> T:
    """The configuration that :func:`add_config_arguments` describes."""
    return load_config(cls, find_config(options.config), options.overrides)
