"""Writing a configuration: what is in it, who can read it, and what it never destroys."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from monty.serialization import loadfn
from ruamel.yaml import YAML

from dismaiflow.errors import DismaiError
from dismaiflow.jobs import CATEGORIES
from dismaiflow.launch.check import ready_to_submit
from dismaiflow.launch.config import LaunchConfig, is_configured, load_config
from dismaiflow.launch.files import yaml_quoted
from dismaiflow.launch.init import NAMES, Login, filled, initialise, template
from dismaiflow.launch.keys import check_keys
from dismaiflow.store.reading import DOCUMENT_INDEXES

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.conftest import Dismai
    from dismaiflow.launch.server import PrivateServer

ROOT = Path(__file__).parents[2]

#: Passwords that a careless template would break.
ODD = [
    'it\'s "quoted"',
    " #1: {a} [b] & *c !d | > % @ ` ",
    "back\\slash $HOME ${HOME} $(id) {{host}} $$",
    "null",
    "0123",
    "yes",
    "é☃ß",
    "a" * 200,
    "- x: y",
]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_to_fill(name: str, tmp_path: Path) -> None:
    """Every placeholder is known, every file is valid, no line ends in space."""
    folder = tmp_path / "with space's"
    text = filled(name, folder, Login("h.example", 1, user="u", password="secret"))
    assert "{{" not in text
    assert text.startswith("#")
    assert all(line == line.rstrip() for line in text.splitlines())
    if name.endswith(".yaml"):
        assert isinstance(yaml.safe_load(text), dict)
        assert YAML(typ="safe", pure=True).load(text) == yaml.safe_load(text)
    assert ("secret" in text) == (name in ("my_launchpad.yaml", "jobflow.yaml"))


def test_the_templates_lie_at_the_top_of_the_repository() -> None:
    """As a link to the one copy."""
    link = ROOT / "launchpad"
    if not link.is_symlink():
        pytest.skip("not a checkout")
    assert not link.readlink().is_absolute()
    assert sorted(path.name for path in link.iterdir()) == sorted(NAMES)
    assert (link / "env.sh").read_text("utf-8") == template("env.sh")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_every_text_survives_quoting(text: str) -> None:
    """With the reader of FireWorks and jobflow, and with the one that most people use."""
    line = f"key: {yaml_quoted(text)}"
    assert yaml.safe_load(line) == {"key": text}
    assert YAML(typ="safe", pure=True).load(line) == {"key": text}


def test_contents(configured: Callable[..., LaunchConfig], login: Login) -> None:
    """What each file says, by the readers that will read it."""
    config = configured()
    folder = config.folder
    for name in NAMES:
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert loadfn(folder / "FW_config.yaml")["CONFIG_FILE_DIR"] == str(folder)
    launchpad = loadfn(folder / "my_launchpad.yaml")
    assert (launchpad["host"], launchpad["port"]) == (login.host, login.port)
    assert launchpad["password"] == login.password
    store = loadfn(folder / "jobflow.yaml")["JOB_STORE"]
    for part in (store["docs_store"], store["additional_stores"]["data"]):
        assert part["password"] == login.password
        assert part["database"] == login.database
    for category in CATEGORIES:
        assert loadfn(config.worker_file(category))["category"] == category
        queue = loadfn(config.queue_file(category))
        assert str(config.worker_file(category)) in queue["rocket_launch"]
        assert "env.sh" in queue["pre_rocket"]
    assert loadfn(config.queue_file("gpu"))["gres"]
    assert loadfn(config.queue_file("vasp"))["ntasks"] > 1
    check_keys(config)


def test_the_databases_are_made_ready(configured: Callable[..., LaunchConfig]) -> None:
    """With the indexes that queries need; ids begin at one."""
    config = configured()
    launchpad, jobstore = config.launchpad(), config.jobstore()
    assert launchpad.get_new_fw_id() == 1
    documents = jobstore.docs_store._collection.index_information()
    patterns = {tuple(name for name, _ in index["key"]) for index in documents.values()}
    assert {tuple(name for name, _ in keys) for keys in DOCUMENT_INDEXES} <= patterns
    files = jobstore.additional_stores["data"]._files_collection.index_information()
    assert ["metadata.blob_uuid"] in [[key for key, _ in i["key"]] for i in files.values()]


def test_jobs_that_are_there_are_not_touched(configured: Callable[..., LaunchConfig]) -> None:
    """Neither by a second init, nor where the counter alone was lost."""
    from fireworks import Firework, ScriptTask

    config = configured()
    launchpad = config.launchpad()
    ids = [launchpad.add_wf(Firework(ScriptTask.from_str("true"))).popitem()[1] for _ in range(3)]
    before = list(launchpad.fireworks.find())
    configured()
    launchpad.fw_id_assigner.delete_many({})
    with pytest.raises(DismaiError, match="not set up"):
        config.launchpad()
    configured()
    assert list(launchpad.fireworks.find()) == before
    assert launchpad.get_new_fw_id() == max(ids) + 1


@pytest.mark.parametrize("password", ODD)
def test_odd_passwords(
    configured: Callable[..., LaunchConfig], private: PrivateServer, password: str
) -> None:
    """They go through both files to the server and let us in."""
    with private.client("admin") as client:
        client.admin.command("createUser", "odd", pwd=password, roles=["root"])
        try:
            config = configured(user="odd", password=password)
            ready_to_submit(config)
            assert loadfn(config.folder / "my_launchpad.yaml")["password"] == password
        finally:
            client.admin.command("dropUser", "odd")


def test_a_folder_with_an_odd_name(configured: Callable[..., LaunchConfig], tmp_path: Path) -> None:
    """env.sh, the adapters and FireWorks find it."""
    config = configured("my launch'pad $x")
    check_keys(config)
    words = ["bash", "-c", '. "$1" && echo "$FW_CONFIG_FILE" && echo "$DISMAI_LAUNCHPAD_DIR"', "-"]
    said = subprocess.run(
        [*words, str(config.folder / "env.sh")], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert said == [str(config.folder / "FW_config.yaml"), str(config.folder)]
    queue = loadfn(config.queue_file("gpu"))
    said = subprocess.run(
        [
            "bash",
            "-c",
            f'{queue["pre_rocket"]}; rlaunch() {{ echo "$4"; }}; {queue["rocket_launch"]}',
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.strip() == str(config.worker_file("gpu"))


def test_env_sh_gives_the_environment(configured: Callable[..., LaunchConfig]) -> None:
    """The same as the configuration in Python; and the commands of this Python."""
    config = configured()
    code = "import os, json, sys; print(json.dumps(dict(os.environ)))"
    words = ["bash", "-c", f'. "$1" && command -v dismai && python -c {code!r}', "-"]
    found, said = subprocess.run(
        [*words, str(config.folder / "env.sh")], capture_output=True, text=True, check=True
    ).stdout.split("\n", 1)
    assert Path(found).is_file()
    environment = yaml.safe_load(said)
    assert {name: environment[name] for name in config.environment()} == config.environment()


def test_edited_files_are_kept(configured: Callable[..., LaunchConfig], login: Login) -> None:
    """Only --force replaces them, and leaves a copy; what nobody edited follows the options."""
    config = configured()
    edited, followed = config.queue_file("cpu"), config.folder / "jobflow.yaml"
    text = edited.read_text().replace("queue: null ", "queue: mine ")
    edited.write_text(text)
    edited.chmod(0o644)
    other = Login(**{**vars(login), "database": f"{login.database}_other"})
    done = initialise(config.folder, other, link=False)
    assert done.kept == ["my_qadapter.yaml"]
    assert edited.read_text() == text
    assert edited.stat().st_mode & 0o777 == 0o600
    assert "jobflow.yaml" in done.written
    assert other.database in followed.read_text()
    done = initialise(config.folder, other, force=True, link=False)
    assert done.kept == []
    (backup,) = done.backups
    assert backup.read_text() == text
    assert backup.stat().st_mode & 0o777 == 0o600
    assert "queue: null " in edited.read_text()
    assert len(done.unchanged) == len(NAMES) - 1


def test_links_where_nothing_is(configured: Callable[..., LaunchConfig]) -> None:
    """A plain rlaunch finds the configuration; a second time there is nothing to do."""
    config = configured(link=True)
    home = Path.home()
    assert (home / ".jobflow.yaml").samefile(config.folder / "jobflow.yaml")
    assert (home / ".fireworks" / "FW_config.yaml").samefile(config.folder / "FW_config.yaml")
    script = f". {config.folder / 'env.sh'}; echo ${{FW_CONFIG_FILE-unset}}"
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout == "unset\n"  # FireWorks complains of two names of one file


@pytest.mark.parametrize("name", [".jobflow.yaml", ".fireworks/FW_config.yaml"])
@pytest.mark.parametrize("dangling", [False, True])
def test_no_links_where_something_is(
    configured: Callable[..., LaunchConfig],
    login: Login,
    tmp_path: Path,
    name: str,
    dangling: bool,
) -> None:
    """It is left alone, and init says what wins."""
    config = configured()
    path = Path.home() / name
    path.parent.mkdir(exist_ok=True)
    if dangling:
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.write_text("{}\n")
    done = initialise(config.folder, login)
    assert done.links == []
    assert any(str(path) in line for line in done.warnings)
    assert path.is_symlink() == dangling
    assert not (Path.home() / ".jobflow.yaml").exists() or name == ".jobflow.yaml"


def wrong(changes: dict[str, Any], words: str) -> Any:
    return pytest.param(changes, words, id=words.split()[0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        wrong({"password": "not it"}, "let user 'admin' in"),
        wrong({"user": None, "password": None}, "allow a user without a name"),
        wrong({"auth_database": "elsewhere"}, "not let user 'admin' in"),
    ],
)
def test_a_server_that_cannot_be_used(
    configured: Callable[..., LaunchConfig], changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """One line, and nothing is written."""
    with pytest.raises(DismaiError) as caught:
        configured(**changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "launchpad").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"database": "a.b"},
        {"host": "mongodb://u:p@h"},
        {"password": "two\nlines"},
        {"password": ""},
        {"password": None},
    ],
)
def test_wrong_options(configured: Callable[..., LaunchConfig], changes: dict[str, Any]) -> None:
    """Refused before anything is asked."""
    with pytest.raises(DismaiError) as caught:
        configured(**changes)
    assert "u:p" not in str(caught.value)


def test_a_reader_gets_files_but_makes_nothing(
    configured: Callable[..., LaunchConfig], private: PrivateServer
) -> None:
    """Somebody who may only read can use the results."""
    known = private.credentials("reader")
    done = initialise(
        Path.home().parent / "reading",
        Login(known["host"], known["port"], user="reader", password=known["password"]),
        link=False,
    )
    assert not done.may_write
    assert LaunchConfig(done.folder).jobstore().count() >= 0


def test_without_fireworks(
    configured: Callable[..., LaunchConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The extra is named, before anything is written."""
    real = find_spec
    monkeypatch.setattr(
        "dismaiflow.launch.init.find_spec", lambda n: None if n == "fireworks" else real(n)
    )
    with pytest.raises(DismaiError, match=r"dismaiflow\[launchpad\]"):
        configured()
    assert not (tmp_path / "launchpad").exists()


def test_commands_do_not_wait_as_workers_do(configured: Callable[..., LaunchConfig]) -> None:
    """Ten minutes are for those whose results would be lost."""
    config = configured()
    waiting = loadfn(config.folder / "jobflow.yaml")["JOB_STORE"]["docs_store"]
    assert waiting["mongoclient_kwargs"]["serverSelectionTimeoutMS"] == 600_000
    client = config.jobstore().docs_store._collection.database.client
    assert client.options.server_selection_timeout == 10
    assert config.launchpad().connection.options.server_selection_timeout == 10


def test_the_command(
    dismai: Dismai, config: LaunchConfig, private: PrivateServer, tmp_path: Path
) -> None:
    """It says what it did and what is next; the password is never shown."""
    assert is_configured(config.folder)
    assert load_config(config.folder) == config
    again = dismai("launchpad", "init")
    assert "11 files" in again.words
    assert "there already, jobs untouched" in again.words
    assert "next: dismai launchpad check" in again.words

    known = private.credentials("admin")
    words = ["launchpad", "init", tmp_path / "other", "--host", known["host"], "--no-link"]
    words += ["--port", known["port"], "--database", "typed", "--user", "admin"]
    assert "--password-file" in dismai(*words).refusal
    secret = tmp_path / "secret"
    assert "No such file" in dismai(*words, "--password-file", secret).refusal
    secret.write_text(known["password"] + "\n")
    ran = dismai(*words, "--password-file", secret)
    assert "LaunchPad typed_launchpad" in ran.words
    assert "new and empty" in ran.words
    assert str(tmp_path / "other" / "env.sh") in ran.words + ran.err
    assert known["password"] not in ran.out + ran.err

    empty = {"HOME": tmp_path}
    assert "dismai launchpad up" in dismai("launchpad", "init", **empty).refusal
    assert "--host" in dismai("launchpad", "init", "--password-file", secret).refusal
    assert "dismai launchpad init" in dismai("launchpad", "check", tmp_path / "no").out
