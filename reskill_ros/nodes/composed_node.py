"""composed_node: observation_node and policy_node in one process, where observations need no middleware.

Each node has its own arguments, after its name::

    composed_node observation_node -p task:=block policy_node -p skills:=runs/skills --ros-args --log-level warn
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long
    from reskill_core.process import start

    start("reskill_ros.nodes.composed_node")

import sys
from collections.abc import Sequence
from functools import partial

from reskill_core.command_line import run_command
from reskill_core.errors import GraphError
from reskill_ros.nodes.observation_node import ObservationNode
from reskill_ros.nodes.policy_node import PolicyNode
from reskill_ros.plumbing.exchange import Exchange
from reskill_ros.plumbing.node_process import run

NODES = {"observation_node": ObservationNode, "policy_node": PolicyNode}
# Begins the arguments of all nodes, and in rclpy those of one.
_COMMON = "--ros-args"


def node_arguments(words: Sequence[str]) -> dict[str, list[str]]:
    """Split a command line into the ROS arguments of each node, by its name.

    Raises:
        GraphError: it does not begin with a node's name, or names one twice.
    """
    arguments: dict[str, list[str]] = {}
    for word in words:
        if word in NODES:
            if word in arguments:
                raise GraphError(f"{word} is given twice")
            own = arguments[word] = [_COMMON]
        elif not arguments:
            raise GraphError(f"arguments follow the name of their node, {' or '.join(NODES)}; got {word!r} first")
        else:
            own.append(word)
    return arguments


def main(args: Sequence[str] | None = None) -> int:
    """Run the nodes."""

    def run_all() -> int:
        given = list(sys.argv[1:] if args is None else args)
        common = given.index(_COMMON) if _COMMON in given else len(given)
        own = node_arguments(given[:common])
        exchange = Exchange()
        makers = [partial(node, exchange, own.get(name)) for name, node in NODES.items()]
        return run(*makers, args=given[common:])

    return run_command(run_all)
