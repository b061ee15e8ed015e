"""Valid documents with something wrong in them, and text that is anything, for tests of what reads files."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

_NUMBERS = (-1, 0, 1, 7, 2**53 + 1, 2**70, -(10**30), 0.5, -0.5, 1e-300, 1e308)
_TEXTS = ("", "x", "nan", "1e400", "\x1b[31m", "\0", "../x", "/", "é", "\udcff", "a" * 300)
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, *_NUMBERS, *_TEXTS, [], {}, [[]], [None], [1, 2, 3], {"a": 1}, {"": {}}]
)


def _places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _places(value, (*path, key))
    elif isinstance(document, list):
        # What stands further behind is as what stands before.
        for index, value in enumerate(document[:4]):
            yield from _places(value, (*path, index))


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """The document with one to three of its values replaced, taken away, doubled or called otherwise."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = [path for path in _places(document) if path]
        if not places:
            break
        *parents, last = draw(st.sampled_from(places))
        node = document
        for key in parents:
            node = node[key]
        how = draw(st.sampled_from(["replace", "replace", "remove", "rename", "wrap"]))
        if how == "remove":
            del node[last]
        elif how == "rename" and isinstance(node, dict):
            node[draw(st.sampled_from([text for text in _TEXTS if text != "\udcff"]))] = node.pop(last)
        elif how == "wrap":
            node[last] = [node[last]]
        else:
            node[last] = draw(ODD)
    return document


def scrambled(content: bytes) -> st.SearchStrategy[bytes]:
    """Bytes of any kind, and ``content`` with a piece cut out, doubled or replaced."""

    def piece(cut: tuple[int, int, bytes]) -> bytes:
        begin, length, insert = cut
        return content[:begin] + insert + content[begin + length :]

    marks = (b"", b"\0", b"\xff\xfe", b"[" * 5000, b"{", b"\t", b": ", b"*a", b"&a ", b"!!int ", b"<<: ", b"\n")
    places = st.integers(0, max(len(content) - 1, 0))
    inserts = st.sampled_from(marks) | st.binary(max_size=8) | places.map(lambda place: content[place : place + 30])
    return st.binary(max_size=200) | st.tuples(places, st.integers(0, 40), inserts).map(piece)
