import sys
from pathlib import Path

import pytest

from reskill_core.errors import ConfigError
from reskill_core.plugins import PluginError, Registry

BUILTIN = {"flow": "collections:OrderedDict", "gaussian": "collections:Counter"}


def install(site: Path, distribution: str, *points: str) -> None:
    """What pip leaves of a distribution with entry points, and a module of its own."""
    info = site / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[reskill.test_things]", *points, ""]))
    (site / f"{distribution}_things.py").write_text("class Mixture:\n    pass\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def registry() -> Registry:
    return Registry("reskill.test_things", "thing", BUILTIN)


def test_builtin_names_are_imported_when_they_are_asked_for() -> None:
    absent = Registry("reskill.test_things", "thing", {"absent": "no_such_module:Thing", **BUILTIN})
    assert absent.names == ("absent", "flow", "gaussian")
    assert absent.get("gaussian") is sys.modules["collections"].Counter


def test_an_installed_distribution_adds_to_a_registry(site: Path) -> None:
    install(site, "addon", "mixture = addon_things:Mixture")
    found = registry()
    assert found.names == ("flow", "gaussian", "mixture")
    assert "mixture" in found
    assert found.get("mixture").__name__ == "Mixture"


def test_unknown_names_are_refused_with_the_nearest(site: Path) -> None:
    install(site, "hinting", "mixture = hinting_things:Mixture")
    with pytest.raises(ConfigError, match=r"unknown thing 'mixtures'; allowed: flow, gaussian, mixture; did you mean"):
        registry().get("mixtures")


def test_a_name_stands_for_one_thing(site: Path) -> None:
    install(site, "impostor", "flow = impostor_things:Mixture")
    with pytest.raises(PluginError, match="thing 'flow' is both collections:OrderedDict and"):
        _ = registry().names


def test_the_same_distribution_twice_in_the_path_is_one(site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    install(site, "twice", "mixture = twice_things:Mixture")
    again = tmp_path_factory.mktemp("again")
    install(again, "twice", "mixture = twice_things:Mixture")
    sys.path.append(str(again))
    try:
        assert registry().names == ("flow", "gaussian", "mixture")
    finally:
        sys.path.remove(str(again))


def test_a_broken_plug_in_is_named(site: Path) -> None:
    install(site, "broken", "mixture = broken_things:Absent")
    with pytest.raises(
        PluginError, match=r"thing 'mixture' is broken_things:Absent by an entry point of reskill\.test"
    ):
        registry().get("mixture")
