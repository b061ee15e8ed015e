"""Messages handed on within a process, without the middleware."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any


class Exchange:
    """Hands messages of one node to callbacks of others in the same process, in the same thread and at once.

    Topics have their fully resolved names. Receivers share the message object and must not change it.
    """

    def __init__(self) -> None:
        self._receivers: defaultdict[str, list[Callable[[Any], None]]] = defaultdict(list)

    def receive(self, topic: str, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Call back with each message that is handed on, until the returned function is called."""
        self._receivers[topic].append(callback)
        return lambda: self._receivers[topic].remove(callback)

    def hand_on(self, topic: str, message: Any) -> None:
        """Call all receivers of a topic; their exceptions propagate."""
        for callback in tuple(self._receivers[topic]):
            callback(message)
