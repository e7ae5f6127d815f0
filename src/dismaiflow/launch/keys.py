"""Words in the files of a configuration: unknown ones are refused, by the file that has them."""

from __future__ import annotations

import json
import os
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError
from dismaiflow.launch.config import LaunchConfig, import_jobflow, import_launchpad
from dismaiflow.launch.files import read_yaml, refuse_unknown

if TYPE_CHECKING:
    from pathlib import Path

#: Keys of a worker file; FireWorks ignores all others.
_WORKER_KEYS = ("name", "category", "query", "env")

#: Keys of a queue adapter that are FireWorks' own and not the template's.
_QUEUE_KEYS = ("logdir", "rocket_launch", "pre_rocket", "post_rocket", "job_name", "template_file")


def check_keys(config: LaunchConfig, thorough: bool = True) -> None:
    """Refuse any file that is not valid or has words that nothing reads.

    Parameters
    ----------
    config : LaunchConfig
        Whose files.
    thorough : bool
        Also look at what only VASP workers need, which takes atomate2 to be imported.

    Raises
    ------
    DismaiError
        Names the file, the word and the nearest known one.
    """
    config.launchpad_settings()
    config.store_spec()
    _check_fireworks(config)
    import_jobflow()  # which would stumble over what is said in clearer words above
    from dismaiflow.jobs import CATEGORIES

    for category in CATEGORIES:
        worker_settings(config.worker_file(category))
        _check_queue(config.queue_file(category))
    if thorough:
        _check_atomate2(config.file("atomate2.yaml"))


def worker_settings(path: Path) -> dict[str, Any]:
    """Return the content of a worker file, its query decoded.

    Raises
    ------
    DismaiError
        If something is missing or unknown.
    """
    content = read_yaml(path)
    refuse_unknown(path, "", content, _WORKER_KEYS)
    for key in ("name", "category", "query"):
        if key not in content:
            raise DismaiError(f"{path}: {key} is missing")
    try:
        query = json.loads(content["query"])
    except (TypeError, ValueError):
        query = None
    if not isinstance(query, dict):
        raise DismaiError(f"{path}: query must be JSON in quotes, such as '{{}}'")
    return content | {"query": query}


def _check_fireworks(config: LaunchConfig) -> None:
    """Check FW_config.yaml, of which FireWorks refuses unknown words as it is imported."""
    path = config.file("FW_config.yaml")
    content = read_yaml(path)
    import_launchpad(config)
    from fireworks import fw_config

    known = [name for name in vars(fw_config) if name.isupper()]
    refuse_unknown(path, "", content, [*known, "ADD_USER_PACKAGES", "ECHO_TEST"])
    folder = content.get("CONFIG_FILE_DIR")
    if str(folder) != str(config.folder):
        raise DismaiError(f"{path}: CONFIG_FILE_DIR must be {config.folder}, not {folder}")
    ping, expiry = (
        content.get(name, getattr(fw_config, name))
        for name in ("PING_TIME_SECS", "RUN_EXPIRATION_SECS")
    )
    if not (isinstance(ping, int | float) and isinstance(expiry, int | float)):
        raise DismaiError(f"{path}: PING_TIME_SECS and RUN_EXPIRATION_SECS must be numbers")
    if expiry < 3 * ping:
        raise DismaiError(
            f"{path}: RUN_EXPIRATION_SECS ({expiry}) must be several times PING_TIME_SECS "
            f"({ping}), or living jobs are taken for lost"
        )


def _check_queue(path: Path) -> None:
    """Check a queue adapter against the template of its kind of queue."""
    content = read_yaml(path)
    if content.get("_fw_name") != "CommonAdapter":
        return  # somebody's own adapter
    from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

    kinds = list(CommonAdapter.default_q_commands)
    refuse_unknown(path, "_fw_q_type", [str(content.get("_fw_q_type"))], kinds)
    if not content.get("rocket_launch"):
        raise DismaiError(f"{path}: rocket_launch is missing")
    own = content.get("_fw_template_file")
    template = own or CommonAdapter._get_default_template_file(content["_fw_q_type"])
    try:
        with open(template, encoding="utf-8") as file:  # noqa: PTH123 - a str from FireWorks
            words = re.findall(r"\$\$\{([\w-]+)\}", file.read())
    except OSError as error:
        raise DismaiError(f"{path}: {template}: {error.strerror}") from error
    given = [key for key in content if not key.startswith("_")]
    refuse_unknown(path, "", given, {*words, *_QUEUE_KEYS} - {"launch_dir"})


def _check_atomate2(path: Path) -> None:
    """Check the settings of atomate2, where it is installed."""
    text = path.read_text("utf-8")
    content = read_yaml(path) if re.search(r"^[^#\s]", text, re.MULTILINE) else {}
    if not content or find_spec("atomate2") is None:
        return
    try:
        # which reads the file that this shell leads to
        from atomate2.settings import Atomate2Settings
    except ValueError as error:
        named = os.environ.get("ATOMATE2_CONFIG_FILE", "~/.atomate2.yaml")
        raise DismaiError(f"{named}: atomate2 cannot read its settings there: mend them") from error
    refuse_unknown(path, "", content, list(Atomate2Settings.model_fields))
