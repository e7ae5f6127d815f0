"""Systems are found by name in the package, in plug-ins and in the user's folders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.systems import (
    SystemSpec,
    get_system,
    list_systems,
    load_catalogue,
    new_system_yaml,
    registry,
)
from dismaiflow.systems.checks import KINDS

NAMES = [
    "alloy-1500K-narrow",
    "alloy-1500K-wide",
    "alloy-300K-narrow",
    "alloy-300K-wide",
    "amorphous-si",
    "li2o-li-110",
    "li2o-licl-100-li",
    "li2o-licl-100-o",
    "li2o-licl-110",
    "li2o-mgs-110",
    "lsc-lco",
    "lyc-lco",
    "tiny-li2o-licl",
]


def install(monkeypatch: pytest.MonkeyPatch, **offered: Any) -> None:
    """Pretend that a plug-in package offers systems; an exception is raised on loading."""

    class Point(SimpleNamespace):
        def load(self) -> Any:
            if isinstance(self.offered, Exception):
                raise self.offered
            return self.offered

    points = [
        Point(name=name, offered=value, dist=SimpleNamespace(name="plug-in"))
        for name, value in offered.items()
    ]

    def entry_points(*, group: str) -> list[Point]:
        assert group == "dismaiflow.systems"
        return points

    monkeypatch.setattr(registry, "entry_points", entry_points)


def write(folder: Path, name: str, stem: str | None = None) -> Path:
    path = folder / f"{stem or name}.yaml"
    path.write_text(new_system_yaml("amorphous", name), encoding="utf-8")
    return path


def test_the_shipped_systems_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    systems = list_systems()
    assert [spec.name for spec in systems] == NAMES
    assert [spec.kind for spec in systems] == ["alloy"] * 4 + ["amorphous"] + ["interface"] * 8
    assert load_catalogue().broken == {}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("alloy-300k-narow", "did you mean alloy-300K-narrow? (`dismai systems list` shows all)"),
        ("ALLOY-1500K-WIDE", "did you mean alloy-1500K-wide?"),
        ("alloy-300", "did you mean alloy-300K-narrow or alloy-300K-wide?"),
        ("amorphus-si", "did you mean amorphous-si?"),
        ("zzz", "known: alloy-1500K-narrow, "),
    ],
)
def test_unknown_names_get_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(DismaiError) as caught:
        get_system(name)
    assert str(caught.value).startswith(f"unknown system {name!r}: {nearest}")


def test_a_path_is_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, "mine")
    for given in (path, str(path)):
        assert get_system(given).name == "mine"
    assert get_system(path).origin == str(path)
    with pytest.raises(DismaiError, match=r"absent\.yaml: no such file"):
        get_system("absent.yaml")
    with pytest.raises(DismaiError, match="no such file"):
        get_system(str(tmp_path / "absent"))


def test_a_users_folder_adds_systems(tmp_path: Path) -> None:
    write(tmp_path, "mine")
    (tmp_path / "notes.txt").write_text("no system", encoding="utf-8")
    assert get_system("mine", extra_dirs=[tmp_path]).name == "mine"
    assert "mine" in {spec.name for spec in list_systems([tmp_path])}
    # The same folder twice, by another path too, is no clash.
    assert get_system("mine", extra_dirs=[tmp_path, f"{tmp_path}/.", str(tmp_path)]).n_atoms == 216
    with pytest.raises(DismaiError, match="did you mean mine"):
        get_system("mime", extra_dirs=[tmp_path])
    with pytest.raises(DismaiError, match="no such folder"):
        get_system("mine", extra_dirs=[tmp_path / "absent"])


def test_two_systems_of_one_name_name_both_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = write(tmp_path, "mine", "a"), write(tmp_path, "mine", "b")
    with pytest.raises(DismaiError, match="two systems are named 'mine'") as caught:
        get_system("mine", extra_dirs=[tmp_path])
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)
    changed = get_system("lsc-lco").model_copy(update={"vacuum": 20.0})
    install(monkeypatch, extra=changed)
    with pytest.raises(DismaiError, match=r"lsc-lco\.yaml and entry point 'extra' of plug-in"):
        list_systems()
    twins = [SystemSpec.from_yaml(new_system_yaml("alloy", "twin")) for _ in range(2)]
    install(monkeypatch, one=twins[0], two=twins[1])
    with pytest.raises(DismaiError, match=r"entry point 'one'.* and entry point 'two'"):
        list_systems()


def test_entry_points_give_specs_paths_and_callables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "by-path")
    install(
        monkeypatch,
        spec=SystemSpec.from_yaml(new_system_yaml("alloy", "by-spec"), ""),
        path=path,
        text=str(write(tmp_path, "by-text")),
        one=lambda: SystemSpec.from_yaml(new_system_yaml("interface", "by-call"), ""),
        several=lambda: [
            SystemSpec.from_yaml(new_system_yaml("alloy", "one"), ""),
            write(tmp_path, "two"),
        ],
    )
    names = {spec.name for spec in list_systems()}
    assert names == {*NAMES, "by-path", "by-spec", "by-text", "by-call", "one", "two"}
    assert get_system("by-path").origin == str(path)
    assert get_system("by-call").origin == "entry point 'one' of plug-in"


def test_a_broken_plug_in_or_file_stops_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, crash=ImportError("no module x"), number=lambda: 3, absent="absent.yaml")
    (tmp_path / "bad.yaml").write_text("name: bad\n", encoding="utf-8")
    write(tmp_path, "good")
    catalogue = load_catalogue([tmp_path])
    assert {*NAMES, "good"} == set(catalogue.specs)
    assert len(catalogue.broken) == 4
    reasons = " | ".join(catalogue.broken.values())
    assert "no module x" in reasons
    assert "gives int: it must give a SystemSpec" in reasons
    assert "absent.yaml: no such file" in reasons
    assert "key 'kind' is missing" in reasons
    assert get_system("good", extra_dirs=[tmp_path]).name == "good"
    with pytest.warns(UserWarning, match="left out"):
        assert len(list_systems([tmp_path])) == len(NAMES) + 1
    with pytest.raises(DismaiError, match=r"bad\.yaml: key 'kind' is missing"):
        get_system("bad", extra_dirs=[tmp_path])


@pytest.mark.parametrize("kind", KINDS)
def test_templates_are_valid_and_commented(kind: str, tmp_path: Path) -> None:
    text = new_system_yaml(kind, "my-system")
    path = tmp_path / "my-system.yaml"
    path.write_text(text, encoding="utf-8")
    spec = get_system(path)
    assert (spec.name, spec.kind) == ("my-system", kind)
    assert text.count("#") > 10
    assert SystemSpec.from_yaml(spec.to_yaml()) == spec
    assert spec.n_atoms is not None
    assert spec.n_atoms <= 216


def test_commented_keys_of_the_templates_are_real() -> None:
    """What a template shows as a comment must work once its mark is removed."""
    interface = new_system_yaml("interface", "x")
    for key in ("matching", "terminations", "polar_fix", "exchanges", "reference_energy"):
        assert f"# {key}: " in interface
        interface = interface.replace(f"# {key}: ", f"{key}: ")
    parts = SystemSpec.from_yaml(interface).interface
    assert parts.matching is not None
    assert parts.terminations == {"LiF": 0}
    assert [fix.phase for fix in parts.polar_fix] == ["LiF"]
    assert parts.exchanges is not None
    alloy = new_system_yaml("alloy", "x").replace("# order_filter: ", "order_filter: ")
    assert SystemSpec.from_yaml(alloy).alloy.order_filter is not None


def test_templates_refuse_unknown_kinds_and_bad_names() -> None:
    with pytest.raises(DismaiError, match="unknown kind of system 'aloy': did you mean alloy"):
        new_system_yaml("aloy", "x")
    with pytest.raises(DismaiError, match="without spaces"):
        new_system_yaml("alloy", "my system")


def test_importing_the_room_stays_light() -> None:
    code = (
        "import sys, dismaiflow.systems as s; s.get_system('lsc-lco'); "
        "heavy = {'numpy', 'ase', 'pymatgen', 'jobflow', 'torch'} & set(sys.modules); "
        "sys.exit(str(sorted(heavy)) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
