"""Settings of the package: environment variables, then ``~/.dismai.yaml``."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from dismaiflow.errors import DismaiError, suggestion, wrong_setting

#: Environment variable that names another settings file.
CONFIG_VARIABLE = "DISMAI_CONFIG_FILE"

#: Where the settings file is looked for, unless DISMAI_CONFIG_FILE names another.
DEFAULT_CONFIG_FILE = Path("~/.dismai.yaml")


class DismaiSettings(BaseSettings):
    """Settings; each can be given as an environment variable with the prefix ``DISMAI_``."""

    model_config = SettingsConfigDict(env_prefix="DISMAI_", extra="forbid")

    STORE_PATH: Path = Field(
        Path("~/.dismai/store.sqlite"),
        description="The embedded store, where runs on this machine keep their results.",
    )
    SYSTEMS_DIR: Path = Field(
        Path("~/.dismai/systems"), description="Folder with further system specs."
    )
    LAUNCHPAD_DIR: Path = Field(
        Path("~/.dismai/launchpad"),
        description="Folder with the configuration of the LaunchPad that --submit uses.",
    )
    DATA_DIR: Path = Field(
        Path("~/.dismai/data"),
        description="Folder with the published data that `dismai data fetch` brings.",
    )
    CHUNK_SIZE: PositiveInt = Field(
        50, description="Structures of a stored chunk, the least that a job works on."
    )
    N_CONTROL: PositiveInt = Field(
        1000,
        description="Structures that a control is sampled with, as many as the paper's models.",
    )
    N_CONTROL_RELAXED: NonNegativeInt = Field(
        10,
        description="Structures of a control that must be relaxed first; 0 leaves it out.",
    )
    SCRATCH_DIR: Path = Field(
        Path("~/.dismai/scratch"),
        description="Folder for the partial work of killed jobs, and for unpacked potentials.",
    )
    PROCESSES: NonNegativeInt = Field(
        0, description="Processes of a job that relaxes or analyses; 0 takes all cores it may use."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment first, then the YAML file."""
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, config_file())


def config_file() -> Path:
    """Return the path of the settings file, there or not."""
    named = os.environ.get(CONFIG_VARIABLE)
    return _expanded(Path(named) if named else DEFAULT_CONFIG_FILE)


def load_settings() -> DismaiSettings:
    """Read the settings.

    Raises
    ------
    DismaiError
        If DISMAI_CONFIG_FILE names a missing file, or a setting is unknown or wrong.
    """
    path = config_file()
    if path.is_file():
        _check_file(path)
    elif os.environ.get(CONFIG_VARIABLE):
        raise DismaiError(f"DISMAI_CONFIG_FILE: no such file: {path}")
    _check_environment()
    try:
        settings = DismaiSettings()
    except ValidationError as error:
        wrong = wrong_setting(error, DismaiSettings.model_fields)
        raise DismaiError(f"{path} or the environment: {wrong}") from error
    for name in ("STORE_PATH", "SYSTEMS_DIR", "LAUNCHPAD_DIR", "DATA_DIR", "SCRATCH_DIR"):
        setattr(settings, name, _expanded(getattr(settings, name)))
    return settings


def _expanded(path: Path) -> Path:
    """Put the home folder for ``~``."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise DismaiError(f"{path}: there is no such home folder; give a whole path") from error


def _check_environment() -> None:
    """Refuse variables that look like settings and are none, mostly misspelt ones."""
    prefix = DismaiSettings.model_config["env_prefix"]
    known = [f"{prefix}{name}" for name in DismaiSettings.model_fields] + [CONFIG_VARIABLE]
    for name in os.environ:
        if name.upper().startswith(prefix) and name.upper() not in known:
            raise DismaiError(
                f"the environment variable {name} is no setting: {suggestion(name, known)}"
            )


def _check_file(path: Path) -> None:
    """Refuse a file that holds no settings, which pydantic would not say clearly."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DismaiError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from error
    if content is None:
        return
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise DismaiError(f"{path}: give each setting on a line of its own, as NAME: value")
