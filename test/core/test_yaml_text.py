"""YAML as people expect it: what plain values mean, and what is refused with its line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reskill_core.config import load_config
from reskill_core.errors import ConfigError
from reskill_core.parameters import parameter
from reskill_core.yaml_text import dump_yaml, parse_yaml


@dataclass(frozen=True)
class Numbers:
    count: int = parameter(1, low=0, high=10**6)
    rate: float = parameter(1.0, low=0.0, high=1e6)
    name: str = ""


def parse(text: str) -> Any:
    return parse_yaml(text, "the text", ConfigError)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("1:30", "1:30"),
        ("190:20:30.15", "190:20:30.15"),
        ("1_000", "1_000"),
        ("1e-3", 0.001),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("+1.5", 1.5),
        ("-.inf", -math.inf),
        ("2026-01-31", "2026-01-31"),
        ("2026-01-31 10:00:00", "2026-01-31 10:00:00"),
        *((word, word) for word in ("yes", "no", "on", "off", "Yes", "NO", "y", "n", "=", "0b11")),
        *((word, True) for word in ("true", "True", "TRUE")),
        ("false", False),
        *((word, None) for word in ("", "~", "null")),
        ("{on: 1}", {"on": 1}),
        ("[1, a, 2.0]", [1, "a", 2.0]),
        ("'010'", "010"),
        ("<<", "<<"),
        ("{a: &x {b: 1, c: 2}, d: {<<: *x, c: 3}}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
    ],
)
def test_plain_values_mean_what_people_expect(text: str, value: object) -> None:
    found = parse(text)
    assert (found, type(found)) == (value, type(value))


def test_a_number_in_another_notation_is_never_silently_another_number() -> None:
    assert load_config(Numbers, None, ["count=010"]).count == 10
    assert load_config(Numbers, None, ["rate=1e-3", "name=2026-01-31"]) == Numbers(rate=0.001, name="2026-01-31")
    for wrong in ("count=1:30", "rate=1:30", "count=yes", "rate=true", "count=true", "count=0b11", "count=2026-01-31"):
        with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
            load_config(Numbers, None, [wrong])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", r"line 5 .*key 'c' stands here again, after line 3"),
        ("a: 1\n'a': 2\n", "line 2 .*key 'a'"),
        ("{1: a, 01: b}", "key 1 stands here again"),
        ("a: 1e400", "1e400 is too large"),
        ("a: " + "9" * 5000, "is no int"),
        ("a: 0x" + "f" * 5000, "is no int"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("!!int abc", "'abc' is no int"),
        ("!!float ''", "'' is no float"),
        ("!!timestamp x", "could not determine a constructor"),
        ("? [a]\n: b", "unhashable"),
        ("a: &x [*x]", "contains itself"),
        ("a: b: c", "mapping values are not allowed"),
        ("a\0b", "special characters are not allowed"),
        ("--- 1\n--- 2", "but found another document"),
        ("[" * 100_000, "nested too deeply"),
        ("{a: " * 100_000, "nested too deeply"),
        ("- " * 100_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse(text)
    assert str(caught.value).startswith("the text")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_few_lines_that_stand_for_billions_of_values_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ConfigError, match="more than 100000 values"):
        parse("\n".join(lines))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("count: 1".encode("utf-16"), "not UTF-8"),
        ("count: 1".encode("utf-16-le"), "special characters"),
        ("name: é".encode("latin-1"), "not UTF-8"),
        (b"count: 1\0", "special characters"),
        (b"\xff\xfe\xfd", "not UTF-8"),
        (b"#" * 2**21, "more than 1048576 are not accepted"),
    ],
)
def test_files_that_are_no_utf_8_text_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"c\.yaml.*{message}"):
        load_config(Numbers, tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(Numbers, tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfcount: 3\n")
    assert load_config(Numbers, tmp_path / "c.yaml").count == 3


_WORDS = st.sampled_from(
    ["yes", "no", "1e-3", "010", "0o7", "1:30", "2026-01-31", "~", "", "1_0", ".5", "<<", "=", "a: b"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | _WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | _WORDS, inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES)
def test_what_is_written_is_read_back_the_same(value: Any) -> None:
    assert parse(dump_yaml(value)) == value


@given(st.text(st.sampled_from("yesnofTtrue0123456789.:_-+eEx~"), max_size=6))
def test_text_is_written_so_that_other_readers_take_it_for_text(text: str) -> None:
    assert yaml.safe_load(dump_yaml({"name": text})) == {"name": text}
