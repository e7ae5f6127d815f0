"""Models by registered name and by class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.models.base import GenerativeModel
from dismaiflow.models.baselines import CONTROLS
from dismaiflow.models.registry import (
    ModelChoice,
    choose,
    get_model,
    list_models,
    open_model,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OWN_MODEL = '''
from dismaiflow.errors import DismaiError
from dismaiflow.models.base import ModelCard

class Mine:
    """Gives back what it was given."""

    def __init__(self, layers=2):
        self.layers = layers

    def fit(self, data, folder, *, seed, budget):
        (folder / "train").write_bytes(data.train.to_bytes())

    def sample(self, folder, n, *, seed):
        return None

    def card(self):
        return ModelCard("mine", "a copy")

    class Nested:
        def fit(self, data, folder, *, seed, budget): ...
        def sample(self, folder, n, *, seed): ...
        def card(self): ...

class Old:
    def fit(self, train, seed): ...
    def sample(self, n, seed): ...
    def card(self): ...

class Deaf:
    def sample(self, folder, n, *, seed): ...

class Demanding(Mine):
    def __init__(self, layers): ...

class Broken(Mine):
    def __init__(self):
        raise RuntimeError("no GPU here\\nand more")

class Told(Mine):
    def __init__(self):
        raise DismaiError("set MINE_PATH first")

a_number = 3
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Return a function that writes a module somewhere on the path, and gives its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str) -> str:
        name = f"own_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def test_the_baselines_are_registered() -> None:
    found = list_models()
    assert list(found) == sorted(found)
    for kind in CONTROLS:
        assert type(get_model(kind.name)) is kind


def test_every_call_makes_a_new_one() -> None:
    assert get_model("rattled") is not get_model("rattled")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ratled", "did you mean rattled?"),
        ("random-ocupancy", "did you mean random-occupancy?"),
        ("gan", "give module:Class"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(DismaiError) as error:
        get_model(name)
    assert str(error.value).startswith(f"unknown model {name!r}: {hint}")
    assert "dismai models list" in str(error.value)


def test_a_class_of_ones_own(module: Callable[[str], str]) -> None:
    name = module(OWN_MODEL)
    mine = get_model(f"{name}:Mine")
    assert isinstance(mine, GenerativeModel)
    assert mine.card().name == "mine"
    assert not mine.card().is_control
    get_model(f"{name}:Mine.Nested")


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("Deaf", "needs the methods fit, sample and card"),
        ("Old", "needs fit(data, folder, *, seed, budget) ("),
        ("Demanding", "cannot be made (TypeError: "),
        ("Broken", "cannot be made (RuntimeError: no GPU here)"),
        ("Nobody", "cannot be made (AttributeError: "),
        ("a_number", "cannot be made (TypeError: 'int' object is not callable)"),
        ("", "cannot be made ("),
    ],
)
def test_a_wrong_class_is_one_line(
    module: Callable[[str], str], attribute: str, message: str
) -> None:
    name = f"{module(OWN_MODEL)}:{attribute}"
    with pytest.raises(DismaiError) as error:
        get_model(name)
    assert str(error.value).startswith(f"model {name}: {message}")
    assert "\n" not in str(error.value)


def test_errors_for_users_pass_unchanged(module: Callable[[str], str]) -> None:
    with pytest.raises(DismaiError, match=r"^set MINE_PATH first$"):
        get_model(f"{module(OWN_MODEL)}:Told")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import not_installed_anywhere", "ModuleNotFoundError"),
        ("class Mine(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_broken_module_is_one_line(module: Callable[[str], str], text: str, message: str) -> None:
    name = f"{module(text)}:Mine"
    with pytest.raises(DismaiError, match=rf"cannot be made \({message}: ") as error:
        get_model(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [":Mine", "no_such_module_here:Mine", ".relative:Mine", ":"])
def test_a_missing_module_is_one_line(name: str) -> None:
    with pytest.raises(DismaiError, match="cannot be made"):
        get_model(name)


def test_settings_are_keyword_arguments(module: Callable[[str], str]) -> None:
    name = f"{module(OWN_MODEL)}:Mine"
    assert get_model(name, {"layers": 5}).layers == 5
    with pytest.raises(DismaiError, match="has no setting 'layer'; it has layers"):
        get_model(name, {"layer": 5})


def test_a_choice_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON, and to another folder: a file is found where it was, and shown without its path."""
    (tmp_path / "mine.py").write_text(OWN_MODEL)
    monkeypatch.chdir(tmp_path)
    choice = choose("mine.py:Mine", {"layers": 3})
    assert choice.name == "mine.py:Mine"
    monkeypatch.chdir("/")
    again = ModelChoice.model_validate_json(choice.model_dump_json())
    assert open_model(again).layers == 3
    with pytest.raises(DismaiError, match="no such file"):
        get_model("mine.py:Mine")
