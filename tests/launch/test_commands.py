"""The commands as a person gives them: submit, work, follow, mend, look at the results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import pytest
import yaml
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from cli.conftest import SMALL, Dismai
from dismaiflow import __version__
from dismaiflow.systems import new_system_yaml

if TYPE_CHECKING:
    from dismaiflow.launch.config import LaunchConfig
    from dismaiflow.launch.server import PrivateServer

#: Documents as they lie in the database.
RAW = CodecOptions(document_class=RawBSONDocument)

RLAUNCH = Path(sys.executable).with_name("rlaunch")


@pytest.fixture(scope="module")
def spec(dismai: Dismai, config: LaunchConfig) -> Path:
    """Return the file of a small alloy; there is a LaunchPad."""
    path = dismai.root / "tiny.yaml"
    path.write_text(new_system_yaml("alloy", "tiny"))
    return path


@pytest.fixture(scope="module")
def data(dismai: Dismai, spec: Path) -> Path:
    """Return a dataset that was made here, without the scores of its controls."""
    made = dismai("dataset", spec, "--out", dismai.root / "data", *SMALL, "--no-controls", "--json")
    assert made.code == 0, made.err
    return dismai.root / "data" / "tiny"


@pytest.fixture(scope="module")
def generated(dismai: Dismai, data: Path) -> Path:
    """Return structures to score, one of them broken."""
    frames = ase.io.read(data / "train.extxyz", ":12")
    for atoms in frames:
        atoms.info.clear()
        atoms.rattle(0.05, seed=len(atoms))
    frames[4].numbers[0] = 13
    path = dismai.root / "made.extxyz"
    ase.io.write(path, frames, format="extxyz")
    return path


def environment(dismai: Dismai, **more: object) -> dict[str, str]:
    """Return what a shell with that home has, and nothing of ours."""
    ours = ("DISMAI_", "FW_", "JOBFLOW_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return kept | {"HOME": str(dismai.home)} | {k: str(v) for k, v in more.items()}


def rlaunch(dismai: Dismai, folder: Path, *words: str, **more: object) -> subprocess.Popen[str]:
    """Start a plain ``rlaunch rapidfire`` in a folder."""
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [str(RLAUNCH), "rapidfire", *words],
        cwd=folder,
        env=environment(dismai, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 480) -> str:
    """Wait for a worker and return what it said."""
    said, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, said
    return said


def submitted(dismai: Dismai, *words: object, **variables: object) -> str:
    """Submit something and return its run id."""
    ran = dismai(*words, "--submit", "--json", **variables)
    assert ran.code == 0, ran.err
    return str(json.loads(ran.out)["run_id"])


def status(dismai: Dismai, run_id: str) -> dict[str, Any]:
    """Return what is known of a run."""
    return dict(json.loads(dismai("launchpad", "status", run_id, "--json").out))


def plain(score: dict[str, Any]) -> dict[str, Any]:
    """Return a score without the time at which it was made."""
    del score["provenance"]["created"]
    return score


def test_a_score_on_the_launchpad(
    dismai: Dismai, spec: Path, data: Path, generated: Path, tmp_path: Path
) -> None:
    """Submit, rlaunch, show, export: the score of the same command here, bit for bit."""
    words = ("score", spec, generated, "--reference", data)
    here = dismai(*words, "--out", tmp_path / "here", "--json")
    assert here.code == 0, here.err

    ran = dismai(*words, "--submit", "--tag", "trial")
    assert ran.words.startswith("submitted run ")
    run_id = ran.words.split()[2].rstrip(":")
    assert "score alloy tiny" in ran.words
    assert "jobs for workers of category cpu" in ran.words
    for hint in ("launchpad status", "launchpad retry", "results show"):
        assert f"dismai {hint} {run_id}" in ran.words
    before = status(dismai, run_id)
    assert before["is"] == "waits for a worker"
    assert before["version"] == __version__
    assert before["ready_by_category"] == {"cpu": before["states"]["ready"]}
    listed = json.loads(dismai("launchpad", "status", "--json").out)
    assert (listed[0]["run_id"], listed[0]["tags"]) == (run_id, ["trial"])

    finish(rlaunch(dismai, tmp_path / "work"))
    assert status(dismai, run_id)["is"] == "done"
    assert f"run {run_id}: score alloy tiny, done" in dismai("launchpad", "status", "last").words
    assert dismai("launchpad", "retry", run_id).words == "nothing to mend"
    shown = dismai("results", "show", run_id)
    assert "d_cluster" in shown.words
    exported = dismai("results", "export", run_id, "--out", tmp_path / "there")
    assert exported.code == 0, exported.err
    (path,) = (tmp_path / "there").rglob("score.json")
    there = json.loads(path.read_text())
    assert plain(there) == plain(json.loads(here.out))
    assert there["n_scored"] == 11


@pytest.mark.slow
def test_two_submitters_and_two_workers_at_once(dismai: Dismai, spec: Path, tmp_path: Path) -> None:
    """Two campaigns of different seeds: each as it would have been alone."""
    words = [("dataset", spec, *SMALL, "--seed", seed, "--no-controls") for seed in (1, 2)]
    alone = []
    for number, one in enumerate(words):
        assert dismai(*one, "--out", tmp_path / f"alone{number}").code == 0
        card = tmp_path / f"alone{number}" / "tiny" / "dataset.json"
        alone.append(json.loads(card.read_text())["content_hashes"])
    processes = [dismai.popen(*one, "--submit", "--json", cwd=tmp_path) for one in words]
    run_ids = []
    for process in processes:
        said, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        run_ids.append(json.loads(said)["run_id"])
    workers = [rlaunch(dismai, tmp_path / f"work{number}") for number in range(2)]
    for worker in workers:
        finish(worker)
    for number, run_id in enumerate(run_ids):
        finish(rlaunch(dismai, tmp_path / "last"))  # whatever became ready as both had ended
        assert status(dismai, run_id)["is"] == "done"
        folder = tmp_path / f"there{number}"
        assert dismai("results", "export", run_id, "--out", folder).code == 0
        (card,) = folder.rglob("dataset.json")
        assert json.loads(card.read_text())["content_hashes"] == alone[number]
    assert alone[0] != alone[1]


def test_a_failed_job_and_its_retry(
    dismai: Dismai,
    spec: Path,
    data: Path,
    generated: Path,
    private: PrivateServer,
    tmp_path: Path,
) -> None:
    """The status tells the error's last line; no password is in what anyone wrote or said."""
    run_id = submitted(dismai, "score", spec, generated, "--reference", data, "--no-controls")
    # A worker whose package is broken: a module of it cannot be imported.
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import sys\nsys.modules['dismaiflow.alloy.system'] = None\n"
    )
    said = finish(rlaunch(dismai, tmp_path / "work", PYTHONPATH=broken))
    shown = dismai("launchpad", "status", run_id)
    assert "FAILED count alloy set generated 0" in shown.words
    assert (
        "its worker could not import dismaiflow.benchmark.count_jobs: install there what the "
        "submitter has, in the same version"
    ) in shown.words
    assert f"mend the cause, then: dismai launchpad retry {run_id}" in shown.words
    assert status(dismai, run_id)["is"] == "needs a retry"
    retried = dismai("launchpad", "retry", run_id)
    assert "runs again: count alloy set generated 0" in retried.words
    said += finish(rlaunch(dismai, tmp_path / "work"))
    assert status(dismai, run_id)["is"] == "done"
    assert dismai("results", "export", run_id, "--out", tmp_path / "there").code == 0

    passwords = [private.credentials(user)["password"].encode() for user in ("admin", "dismai")]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) >= 3
    written += [said.encode(), shown.out.encode(), retried.out.encode(), private.log.read_bytes()]
    with private.client("admin") as client:
        for database in ("dismai", "dismai_launchpad"):
            for name in client[database].list_collection_names():
                written += [one.raw for one in client[database].get_collection(name, RAW).find()]
    for password in passwords:
        assert not [text[:200] for text in written if password in text]


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        (
            "my_launchpad.yaml",
            {"password": "wrong"},
            "does not let user 'dismai' in: mend username, password",
        ),
        ("my_launchpad.yaml", {"port": 1}, "no MongoDB server answers at 127.0.0.1:1"),
        (
            "jobflow.yaml",
            {"password": "wrong"},
            "does not let user 'dismai' in: mend username, password",
        ),
        ("jobflow.yaml", {"port": 1}, "no MongoDB server answers at 127.0.0.1:1"),
        ("jobflow.yaml", {"data": None}, "lacks the additional store `data`"),
        ("jobflow.yaml", {"docs_store": None}, "did you mean docs_store?"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_submission_that_cannot_work_is_refused_before_it_starts(
    dismai: Dismai,
    config: LaunchConfig,
    spec: Path,
    data: Path,
    generated: Path,
    tmp_path: Path,
    file: str,
    edit: dict[str, Any],
    message: str,
) -> None:
    """One line, exit code 2, no traceback, no password; the LaunchPad stays as it was."""
    folder = tmp_path / "launchpad"
    shutil.copytree(config.folder, folder)
    for path in folder.iterdir():
        path.write_text(path.read_text().replace(str(config.folder), str(folder)))
    content = yaml.safe_load((folder / file).read_text())
    (folder / file).write_text(yaml.safe_dump(_edited(content, edit)))
    before = config.launchpad().get_fw_ids(count_only=True)
    ran = dismai(
        "score", spec, generated, "--reference", data, "--submit", DISMAI_LAUNCHPAD_DIR=folder
    )
    assert message in ran.refusal
    assert str(config.launchpad_settings()["password"]) not in ran.refusal
    assert "wrong" not in ran.refusal
    assert config.launchpad().get_fw_ids(count_only=True) == before


@pytest.mark.parametrize(
    "words",
    [
        ("dataset", "alloy-1500K-wide", "--submit"),
        ("quickstart", "--submit"),
        ("score", "alloy-1500K-wide", "x", "--reference", "x", "--submit"),
        ("results", "list"),
        ("launchpad", "retry", "last"),
        ("dataset", "alloy-1500K-wide", "--out", "x"),
    ],
    ids=" ".join,
)
def test_a_typo_in_the_file_that_jobflow_itself_reads(
    dismai: Dismai, config: LaunchConfig, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """In a process of its own, in which importing jobflow would end in a traceback."""
    folder = tmp_path / "launchpad"
    shutil.copytree(config.folder, folder)
    for path in folder.iterdir():
        text = path.read_text().replace(str(config.folder), str(folder))
        path.write_text(text.replace("JOB_STORE:", "JOB_STOR:"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".jobflow.yaml").symlink_to(folder / "jobflow.yaml")
    ran = dismai.execute(*words, cwd=tmp_path, HOME=tmp_path / "home", DISMAI_LAUNCHPAD_DIR=folder)
    here = "--out" in words
    assert ran.refusal.startswith("~/.jobflow.yaml: " if here else f"{folder}/jobflow.yaml: ")
    assert "JOB_STOR" in ran.refusal
    assert here or "did you mean JOB_STORE?" in ran.refusal


def _edited(content: Any, edit: dict[str, Any]) -> Any:
    """Set some keys wherever they are; those that are to be None are misspelt."""
    if not isinstance(content, dict):
        return content
    return {
        (f"{key[:-1]}" if key in edit and edit[key] is None else key): edit[key]
        if edit.get(key) is not None
        else _edited(value, edit)
        for key, value in content.items()
    }


def test_words_that_mean_no_run(dismai: Dismai, config: LaunchConfig) -> None:
    """One line each."""
    for command in ("status", "retry"):
        refusal = dismai("launchpad", command, "beef").refusal
        assert refusal.startswith("there is no run beef on the LaunchPad dismai_launchpad at 127.")
    nowhere = dismai.root / "nowhere"
    refusal = dismai("launchpad", "status", DISMAI_LAUNCHPAD_DIR=nowhere).refusal
    assert refusal.startswith(f"{nowhere}: no LaunchPad is configured there")
