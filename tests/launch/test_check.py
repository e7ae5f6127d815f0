"""The whole chain: workers, their categories and versions; and no password left anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bson
import pytest
import yaml

from dismaiflow.errors import DismaiError
from dismaiflow.launch import workers
from dismaiflow.launch.check import run_checks
from dismaiflow.launch.init import Login, initialise
from dismaiflow.launch.trials import TrialJobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.conftest import Dismai
    from dismaiflow.launch.config import LaunchConfig
    from dismaiflow.launch.server import PrivateServer

#: Files that may hold a password, if nobody else can read them.
WITH_PASSWORD = {"server.json", "my_launchpad.yaml", "jobflow.yaml"}

#: A worker's Python in which the gpu worker lacks a module and the vasp worker is older.
SITE = """
import importlib.metadata, sys
line = " ".join(getattr(sys, "orig_argv", []))
if "gpu" in line:
    sys.modules["dismaiflow.launch.probe"] = None
if "vasp" in line:
    real = importlib.metadata.version
    importlib.metadata.version = lambda name: "0.0.1" if name == "numpy" else real(name)
"""


def rlaunch(name: str = "rlaunch") -> Path:
    return Path(sys.executable).with_name(name)


def left(config: LaunchConfig) -> list[Any]:
    """Return all that a check could have left in the databases."""
    launchpad, jobstore = config.launchpad(), config.jobstore()
    found: list[Any] = []
    for name in ("fireworks", "workflows", "launches", "dismai_check"):
        found += launchpad.db[name].find()
    found += jobstore.query()
    found += jobstore.additional_stores["data"]._files_collection.find()
    found += jobstore.additional_stores["data"]._chunks_collection.find()
    return found


def places_of(passwords: set[str], server: PrivateServer, *folders: Path) -> list[str]:
    """Return all places on the server and in folders in which a password stands."""
    wanted = [password.encode() for password in passwords]
    found = []
    with server.client("admin") as client:
        for database in client.list_database_names():
            # sessions of logins, which not even an administrator may read
            names = set(client[database].list_collection_names()) - {"system.sessions"}
            for collection in names:
                for document in client[database][collection].find():
                    if any(word in bson.encode(document) for word in wanted):
                        found.append(f"{database}.{collection}")
    for folder in folders:
        for path in folder.rglob("*"):
            if not path.is_file() or path.is_symlink():
                continue
            if path.name in WITH_PASSWORD or path.suffix == ".bak":
                assert path.stat().st_mode & 0o077 == 0, path
            elif any(word in path.read_bytes() for word in wanted):
                found.append(str(path))
    return found


@pytest.fixture
def mine(configured: Callable[..., LaunchConfig], monkeypatch: pytest.MonkeyPatch) -> LaunchConfig:
    """Return a configuration that workers of this home find."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return configured(link=True)


def test_a_fresh_home(
    dismai: Dismai, config: LaunchConfig, private: PrivateServer, tmp_path: Path
) -> None:
    """After up and init, check finds all well, and leaves all as it was."""
    from fireworks import Firework, ScriptTask

    launchpad = config.launchpad()
    waiting = Firework(ScriptTask.from_str("true"), spec={"_category": "cpu"}, name="waiting")
    (number,) = launchpad.add_wf(waiting).values()
    before = launchpad.fireworks.find_one({"fw_id": number})
    try:
        ran = dismai.execute("launchpad", "check", cwd=tmp_path)
        assert ran.code == 0, ran.out + ran.err
        assert launchpad.fireworks.find_one({"fw_id": number}) == before
    finally:
        launchpad.db["fireworks"].delete_many({})
        launchpad.db["workflows"].delete_many({})
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["ok"] * 12
    assert "60 MB" in ran.out
    assert lines[-1].startswith("all is well; next: dismai score")
    assert left(config) == []
    assert list(tmp_path.iterdir()) == []
    passwords = {private.credentials(user)["password"] for user in ("admin", "dismai", "reader")}
    (tmp_path / "said").write_text(ran.out + ran.err)
    assert places_of(passwords, private, dismai.home, tmp_path) == []


def test_workers_that_fail(
    mine: LaunchConfig, private: PrivateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is told with its reason, and leaves nothing."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    results = {r.name: r for r in run_checks(mine.folder, blob_bytes=100_000)}
    said = {name: f"{r.state} {r.line}" for name, r in results.items()}
    assert results["worker cpu"].state == "ok", said
    assert "trial job failed" in said["worker gpu"]
    assert "its Python lacks dismaiflow or has another version" in said["worker gpu"]
    assert "dismaiflow.launch.probe" in said["worker gpu"]
    assert "failed" in said["worker vasp"]
    assert "numpy" in said["worker vasp"]
    assert "0.0.1 there" in said["worker vasp"]
    assert left(mine) == []
    (tmp_path / "said").write_text(json.dumps(said))
    password = private.credentials("admin")["password"]
    assert places_of({password}, private, tmp_path) == []


@pytest.mark.slow
def test_a_job_that_fails_at_its_store(
    mine: LaunchConfig, private: PrivateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker with a wrong password leaves its error in the LaunchPad, without the password."""
    from jobflow.managers.fireworks import flow_to_workflow

    from dismaiflow.launch.probe import tell_versions

    password = "not-the-password-of-anybody"
    path = tmp_path / "wrong" / "jobflow.yaml"
    path.parent.mkdir()
    text = (mine.folder / "jobflow.yaml").read_text()
    right = private.credentials("admin")["password"]
    path.write_text(text.replace(right, password))
    path.chmod(0o600)
    launchpad = mine.launchpad()
    work = tmp_path / "work"
    work.mkdir()
    logs = []
    for config_file in (path, mine.folder / "jobflow.yaml"):
        job = tell_versions()
        job.update_config({"manager_config": {"_category": "cpu"}})
        launchpad.add_wf(flow_to_workflow(job))
        monkeypatch.setenv("JOBFLOW_CONFIG_FILE", str(config_file))
        ran = subprocess.run(
            [rlaunch(), "--loglvl", "DEBUG", "rapidfire"],
            cwd=work,
            capture_output=True,
            text=True,
            check=True,
        )
        logs.append(ran.stdout + ran.stderr)
    (work / "log").write_text("".join(logs))
    states = [firework["state"] for firework in launchpad.fireworks.find(sort=[("fw_id", 1)])]
    assert states == ["FIZZLED", "COMPLETED"]
    assert "Authentication failed" in logs[0]
    assert places_of({right, password}, private, tmp_path) == []


@pytest.mark.parametrize(
    "place",
    [
        "home",
        pytest.param("variable", marks=pytest.mark.slow),
        pytest.param("folder", marks=pytest.mark.slow),
    ],
)
def test_a_configuration_that_workers_do_not_find(
    configured: Callable[..., LaunchConfig],
    login: Login,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    """Results in memory, or on another LaunchPad, are told before they are lost."""
    config = configured()
    other = initialise(tmp_path / "other", Login(**{**vars(login), "database": "x"}), link=False)
    home = Path.home()
    monkeypatch.chdir(tmp_path)
    if place == "home":
        line = _environment(config)
        assert "FW_CONFIG_FILE is not set: `source" in line
        monkeypatch.setenv("FW_CONFIG_FILE", str(config.folder / "FW_config.yaml"))
        line = _environment(config)
        assert "keeps results in memory and loses them" in line
        assert "JOBFLOW_CONFIG_FILE is not set and there is no" in line
        (home / ".jobflow.yaml").symlink_to(other.folder / "jobflow.yaml")
        line = _environment(config)
        assert "another store" in line
        assert str(home / ".jobflow.yaml") in line
    elif place == "variable":
        for name, value in config.environment().items():
            monkeypatch.setenv(name, value)
        assert "uses this LaunchPad" in _environment(config)
        monkeypatch.setenv("JOBFLOW_CONFIG_FILE", str(tmp_path / "typo.yaml"))
        line = _environment(config)
        assert "keeps results in memory" in line
        assert f"{tmp_path / 'typo.yaml'}, which is not there" in line
    else:
        for name, value in config.environment().items():
            monkeypatch.setenv(name, value)
        (home / ".fireworks").mkdir()
        (home / ".fireworks" / "FW_config.yaml").write_text("CONFIG_FILE_DIR: /nowhere\n")
        line = _environment(config)
        assert f"{home / '.fireworks' / 'FW_config.yaml'} wins" in line
        (tmp_path / "FW_config.yaml").write_text("PING_TIME_SECS: 1\n")
        line = _environment(config)
        assert f"{tmp_path / 'FW_config.yaml'} wins" in line


def _environment(config: LaunchConfig) -> str:
    """Return what is said of the environment of workers."""
    result = workers.outcome("environment", lambda: workers._environment(config, config.jobstore()))
    assert "\n" not in result.line
    return result.line


@pytest.mark.parametrize(
    ("category", "words"),
    [
        ("''", "takes jobs of gpu, vasp too"),
        ("CPU", "takes no job of the category cpu"),
        ("[cpu, gpu]", "my_fworker.yaml also takes gpu"),
        ("cpu", "each of cpu, gpu, vasp has its own worker"),
    ],
)
def test_categories(mine: LaunchConfig, category: str, words: str) -> None:
    """By the server's own answer; live workers cannot take the trial jobs."""
    from fireworks import FWorker

    path = mine.worker_file("cpu")
    path.write_text(path.read_text().replace("category: cpu", f"category: {category}"))
    launchpad, jobstore = mine.launchpad(), mine.jobstore()
    probes = TrialJobs(mine, launchpad, jobstore)
    try:
        probes.submit(("cpu", "gpu", "vasp"))
        assert words in workers.outcome("categories", probes.shared_out).line
        assert launchpad.fireworks.count_documents({"state": "READY"}) == 3
        for somebody in (FWorker("dismai-cpu", "cpu"), FWorker("any"), FWorker("b", ["gpu"])):
            assert not launchpad.run_exists(somebody)
            assert launchpad.checkout_fw(somebody, ".") == (None, None)
    finally:
        probes.remove()
    assert left(mine) == []


def test_what_a_killed_check_has_left_is_removed(mine: LaunchConfig) -> None:
    """After an hour; before, it may be another check that runs."""
    launchpad, jobstore = mine.launchpad(), mine.jobstore()
    for _ in range(2):
        TrialJobs(mine, launchpad, jobstore).submit(("cpu",))
    old, young = sorted(launchpad.fireworks.distinct("fw_id"))
    launchpad.fireworks.update_one({"fw_id": old}, {"$set": {"created_on": "2020-01-01T00:00:00"}})
    for name in ("dismai-check-100-left", "dismai-check-99999999999-new"):
        jobstore.update({"uuid": name, "index": 1, "output": {"x": 1}}, save={"data": ["x"]})
    for result in run_checks(mine.folder, blob_bytes=1000):
        if result.name == "categories":
            break
    assert launchpad.fireworks.distinct("fw_id") == [young]
    assert jobstore.distinct("uuid") == ["dismai-check-99999999999-new"]
    assert jobstore.additional_stores["data"].count() == 1


def test_through_the_queue(
    mine: LaunchConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a queue that runs its jobs at once, in an environment of their own."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    sbatch = binaries / "sbatch"
    # SLURM hands on the environment; a login shell of another machine would not
    sbatch.write_text(
        "#!/bin/sh\n"
        f'env -i HOME="$HOME" PATH=/usr/bin:/bin bash "$1" >job.out 2>job.error &\n'
        f'cp "$1" {tmp_path}/script.$$\n'
        "echo Submitted batch job $$\n"
    )
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
    results = {
        r.name: r
        for r in run_checks(mine.folder, blob_bytes=1000, via_queue=True, queue_timeout=300)
    }
    for category in ("cpu", "gpu", "vasp"):
        assert results[f"worker {category}"].state == "ok", results
        assert "qlaunch ran a trial job" in results[f"worker {category}"].line
    scripts = [path.read_text() for path in tmp_path.glob("script.*")]
    assert len(scripts) == 3
    assert sum("#SBATCH --gres=gpu:1" in script for script in scripts) == 1
    assert sum("#SBATCH --ntasks=16" in script for script in scripts) == 1
    assert left(mine) == []
    assert not list(mine.folder.glob("check-*"))


def test_without_a_queue(mine: LaunchConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says so."""
    monkeypatch.setenv("PATH", str(rlaunch().parent))
    results = {
        r.name: r
        for r in run_checks(mine.folder, blob_bytes=1000, via_queue=True, queue_timeout=60)
    }
    assert results["workers"].state == "failed"
    assert "no command sbatch here" in results["workers"].line
    assert left(mine) == []


def put_commands(folder: Path, monkeypatch: pytest.MonkeyPatch, **commands: str) -> Path:
    """Put commands of a queue first on PATH, and nothing else of SLURM; return their log."""
    binaries = folder / "commands"
    binaries.mkdir()
    log = folder / "called"
    for name, text in commands.items():
        path = binaries / name
        path.write_text(f'#!/bin/sh\necho "{name} $@" >>{log}\n{text}\n')
        path.chmod(0o755)
    for name in ("bash", "env", "sh"):
        (binaries / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{rlaunch().parent}")
    return log


#: Takes jobs, never starts them, and gives each a number.
WAITING = {
    "sbatch": 'case "$(pwd)" in */cpu*) n=7;; */gpu*) n=8;; *) n=9;; esac\n'
    "echo Submitted batch job $n",
    "squeue": "[ $3 = 9 ] || { echo PENDING Resources; exit; }\n"
    "echo slurm_load_jobs error: Invalid job id specified >&2; exit 1",
}


@pytest.mark.slow
def test_a_queue_that_does_not_start_jobs(
    mine: LaunchConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its jobs are cancelled, and the line says how they were."""
    log = put_commands(tmp_path, monkeypatch, **WAITING, scancel="")
    checks = run_checks(mine.folder, blob_bytes=1000, via_queue=True, queue_timeout=1)
    lines = {r.name: r.line for r in checks if r.state == "failed"}
    assert set(lines) == {"worker cpu", "worker gpu", "worker vasp"}
    cpu, gpu, vasp = (lines[f"worker {category}"] for category in ("cpu", "gpu", "vasp"))
    assert "did not end in 1 s (RESERVED)" in cpu
    assert cpu.endswith("its queue job 7 was PENDING (Resources) and is cancelled")
    assert gpu.endswith("its queue job 8 was PENDING (Resources) and is cancelled")
    assert "its queue job 9 is no longer in the queue" in vasp
    called = log.read_text().splitlines()
    assert "squeue -h -j 7 -o %T %r" in called
    assert [line for line in called if line.startswith("scancel")] == ["scancel 7", "scancel 8"]
    assert left(mine) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "scancel",
    [
        None,
        "echo scancel: error: Access denied >&2; exit 1",
    ],
)
def test_queue_jobs_that_cannot_be_cancelled(
    mine: LaunchConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scancel: str | None
) -> None:
    """They are named, with the command that ends them; also where the check was interrupted."""
    commands = WAITING | ({} if scancel is None else {"scancel": scancel})
    log = put_commands(tmp_path, monkeypatch, **commands)
    checks = run_checks(mine.folder, blob_bytes=1000, via_queue=True, queue_timeout=1)
    lines = {r.name: r.line for r in checks if r.state == "failed"}
    reason = "no scancel here" if scancel is None else "Access denied"
    assert "queue job 7 was PENDING (Resources) and is not cancelled" in lines["worker cpu"]
    assert reason in lines["worker cpu"]
    assert "run `scancel 7` where jobs are submitted" in lines["worker cpu"]
    log.unlink()
    with pytest.raises(DismaiError, match=r"queue job 7 is not cancelled .* run `scancel 7`"):
        interrupt(mine, monkeypatch)
    assert log.read_text().count("sbatch") == 3
    assert left(mine) == []


@pytest.mark.slow
def test_an_interrupted_check_cancels_its_queue_jobs(
    mine: LaunchConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that are submitted at this moment."""
    log = put_commands(tmp_path, monkeypatch, **WAITING, scancel="")
    with pytest.raises(KeyboardInterrupt):
        interrupt(mine, monkeypatch)
    called = log.read_text().splitlines()
    numbers = sorted(line for line in called if line.startswith("scancel"))
    assert numbers == ["scancel 7", "scancel 8", "scancel 9"]
    assert left(mine) == []


def interrupt(config: LaunchConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Control-C as soon as the workers are started."""

    def pressed(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrialJobs, "result", pressed)
        for _ in run_checks(config.folder, blob_bytes=1000, via_queue=True, queue_timeout=1):
            pass


@pytest.mark.slow
def test_another_queue_than_slurm(
    mine: LaunchConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is named; how it is ended there is for the user to know."""
    path = mine.queue_file("cpu")
    settings = yaml.safe_load(path.read_text())
    kept = ("_fw_name", "rocket_launch", "walltime", "pre_rocket")
    path.write_text(yaml.safe_dump({k: settings[k] for k in kept} | {"_fw_q_type": "PBS"}))
    log = put_commands(tmp_path, monkeypatch, qsub="echo 12.host", **WAITING, scancel="")
    checks = run_checks(mine.folder, blob_bytes=1000, via_queue=True, queue_timeout=1)
    lines = {r.name: r.line for r in checks if r.state == "failed"}
    assert "queue job 12 was in another queue than SLURM and is not cancelled: " in str(lines)
    assert "scancel 12" not in log.read_text()


def test_json(dismai: Dismai, tmp_path: Path) -> None:
    """For scripts: nothing but the document on the standard output."""
    ran = dismai("launchpad", "check", tmp_path, "--json")
    assert ran.code == 2
    document = json.loads(ran.out)
    assert document["ok"] is False
    assert [check["state"] for check in document["checks"]] == ["failed"]
