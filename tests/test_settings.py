"""Settings: the environment first, then the file, and clear words for what is wrong."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.settings import DismaiSettings, config_file, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty home and no settings in the environment."""
    for name in list(os.environ):
        if name.startswith("DISMAI_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_defaults_lie_in_the_home(home: Path) -> None:
    """Without file and environment; the paths have no tilde left."""
    settings = load_settings()
    paths = settings.STORE_PATH, settings.SYSTEMS_DIR
    assert paths == (home / ".dismai" / "store.sqlite", home / ".dismai" / "systems")
    assert settings.CHUNK_SIZE == 50
    assert settings.N_CONTROL == 1000
    assert config_file() == home / ".dismai.yaml"


def test_the_environment_goes_before_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting by itself; names in the file may be in small letters."""
    (home / ".dismai.yaml").write_text("CHUNK_SIZE: 7\nn_control: 20\nSTORE_PATH: ~/other.sqlite\n")
    monkeypatch.setenv("DISMAI_CHUNK_SIZE", "9")
    settings = load_settings()
    found = settings.CHUNK_SIZE, settings.N_CONTROL, settings.STORE_PATH
    assert found == (9, 20, home / "other.sqlite")


def test_another_file_can_be_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DISMAI_CONFIG_FILE; it must be there, unless it is empty."""
    (home / ".dismai.yaml").write_text("CHUNK_SIZE: 7\n")
    (home / "mine.yaml").write_text("CHUNK_SIZE: 8\n")
    monkeypatch.setenv("DISMAI_CONFIG_FILE", "~/mine.yaml")
    assert load_settings().CHUNK_SIZE == 8
    monkeypatch.setenv("DISMAI_CONFIG_FILE", "")
    assert load_settings().CHUNK_SIZE == 7
    monkeypatch.setenv("DISMAI_CONFIG_FILE", "~/gone.yaml")
    with pytest.raises(DismaiError, match=r"DISMAI_CONFIG_FILE: no such file: .*gone\.yaml"):
        load_settings()


@pytest.mark.parametrize("content", ["", "# nothing set\n", "{}\n"])
def test_files_without_settings_are_fine(home: Path, content: str) -> None:
    """An empty file is no mistake."""
    (home / ".dismai.yaml").write_text(content)
    assert load_settings().CHUNK_SIZE == 50


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"CHUNKSIZE: 7\n", r"setting CHUNKSIZE is not known: did you mean CHUNK_SIZE\?"),
        (b"CHUNK_SIZE: 0\n", "setting CHUNK_SIZE .*greater than 0"),
        (b"CHUNK_SIZE: many\n", "setting CHUNK_SIZE .*valid integer"),
        (b"STORE_PATH: [1]\n", "setting STORE_PATH .*valid path"),
        (b"- CHUNK_SIZE\n", "give each setting on a line of its own"),
        (b"some words\n", "give each setting on a line of its own"),
        (b"1: 2\n", "give each setting on a line of its own"),
        (b"{\n", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
    ],
)
def test_wrong_files_are_told_in_one_line(home: Path, content: bytes, message: str) -> None:
    """The line names the file."""
    path = home / ".dismai.yaml"
    path.write_bytes(content)
    with pytest.raises(DismaiError, match=message) as caught:
        load_settings()
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_wrong_variables_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value in the environment."""
    monkeypatch.setenv("DISMAI_N_CONTROL", "none")
    with pytest.raises(DismaiError, match=r"or the environment: setting N_CONTROL "):
        load_settings()


def test_every_setting_says_what_it_is() -> None:
    """The reference is made from these words."""
    assert all(field.description for field in DismaiSettings.model_fields.values())
