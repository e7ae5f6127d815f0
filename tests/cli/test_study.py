"""``dismai study``, ``train`` and ``generate``: models of users, controls, and what goes wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pytest

from dismaiflow.cli.interrupted import kept_trainings
from dismaiflow.structures.dataset import open_dataset
from models.outside_models import INTERRUPTED, WRONG

if TYPE_CHECKING:
    from .conftest import Dismai


def test_a_model_in_a_file(dismai: Dismai, spec: Path, data: Path, outside: Path) -> None:
    """Trained three times, sampled and scored: its row, the controls, and what it is not."""
    ran = dismai(
        "study", "thirty_lines.py:Sites", spec, "--dataset", data, "--n", 12, "--seeds", 3,
        "--set", "noise=0.03", "--out", outside / "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "not shown to learn" in ran.words or "shown to learn: beats" in ran.words
    study = json.loads((outside / "out" / "study.json").read_text())
    (row,) = study["rows"]
    assert row["settings"] == {"noise": 0.03}
    assert row["n_generated"] == 36
    assert [run["check"]["n_asked"] for run in row["runs"]] == [12, 12, 12]
    assert len({run["seed"] for run in row["runs"]}) == 3
    score = json.loads((outside / "out" / "score.json").read_text())
    assert score["provenance"]["model"] == "sites noise=0.03"
    values = [run["metrics"]["d_cluster"]["value"] for run in score["per_run"]]
    assert row["metrics"]["d_cluster"]["value"] == pytest.approx(np.mean(values), abs=1e-12)
    assert row["metrics"]["d_cluster"]["min"] == min(values)
    assert set(score["controls"]) >= {"train-resample", "random-occupancy", "uniform-random"}
    made = sorted((outside / "out" / "generated").glob("*.extxyz"))
    assert [len(ase.io.read(path, ":")) for path in made] == [12, 12, 12]
    assert (outside / "out" / "report.html").stat().st_size > 10_000
    assert len(list((outside / "out" / "models").iterdir())) == 3


def test_a_shell_script_as_a_model(dismai: Dismai, spec: Path, data: Path, outside: Path) -> None:
    """It is trained in two launches, and what it generates is the training set in its order."""
    ran = dismai(
        "study", outside / "shell.yaml", spec, "--dataset", data, "--n", 5, "--seeds", 1,
        "--out", outside / "out", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    (row,) = json.loads(ran.out)["rows"]
    (run,) = row["runs"]
    assert run["n_launches"] == 2
    (path,) = (outside / "out" / "generated").iterdir()
    train = open_dataset(data).read("train")
    for atoms, known in zip(ase.io.read(path, ":"), train, strict=False):
        assert np.abs(atoms.positions - known.positions).max() < 1e-7
    assert row["n_scored"] == 5


def test_one_instance_fails_and_the_rest_goes_on(
    dismai: Dismai, spec: Path, data: Path, outside: Path
) -> None:
    """Seeds that cannot be sampled are lost; the row is that of the others, and says so."""
    ran = dismai(
        "study", "counting.py:Counter", spec, "--dataset", data, "--n", 5, "--seeds", 6,
        "--set", "broken_seed=1", "--out", outside / "out", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "cannot be sampled" in ran.err
    (row,) = json.loads(ran.out)["rows"]
    lost = [run for run in row["runs"] if run["lost"]]
    assert 0 < len(lost) < 6
    assert {run["lost"] for run in lost} == {"the sampling failed"}
    assert row["n_generated"] == 5 * (6 - len(lost))
    assert {run["n_launches"] for run in row["runs"]} == {4}


def test_nothing_can_be_sampled(dismai: Dismai, spec: Path, data: Path, outside: Path) -> None:
    ran = dismai(
        "study", "counting.py:Counter", spec, "--dataset", data, "--n", 5, "--seeds", 2,
        "--set", "broken_seed=1", "--set", "launches=-1", "--out", outside / "out",
    )  # fmt: skip
    assert ran.code == 2
    assert not (outside / "out").exists()


def test_one_that_is_interrupted_goes_on(
    dismai: Dismai, spec: Path, data: Path, outside: Path
) -> None:
    """Each seed is trained once, however often the command is given; what it has kept goes."""
    (outside / "interrupted.py").write_text(INTERRUPTED)
    words = ("study", "interrupted.py:Interrupted", spec, "--dataset", data, "--n", 2, "--seeds", 3)
    words = (*words, "--out", outside / "out")
    scratch = outside / "scratch"
    for times in (1, 2):
        (outside / "interrupt").write_text(str(times))
        ran = dismai(*words, DISMAI_SCRATCH_DIR=scratch)
        assert ran.code == 130
        assert "goes on from the last checkpoint" in ran.err
        assert ("goes on with the trainings" in ran.err) == (times == 2)
        assert not (outside / "out").exists()
    (outside / "interrupt").unlink()
    ran = dismai(*words, "--json", DISMAI_SCRATCH_DIR=scratch)
    assert ran.code == 0, ran.err
    (row,) = json.loads(ran.out)["rows"]
    assert row["n_generated"] == 6
    begun = (outside / "begun").read_text().split()
    # The second and the third were interrupted, and begun again.
    assert len(begun) == 5
    assert sorted(set(begun)) == sorted(str(run["seed"]) for run in row["runs"])
    assert not list((scratch / "models").iterdir())


def test_not_two_at_once(dismai: Dismai, spec: Path, data: Path, outside: Path) -> None:
    """They would write into each other's trainings."""
    scratch = outside / "scratch"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISMAI_SCRATCH_DIR", str(scratch))
        with kept_trainings("study", outside / "out"):
            words = ("study", "thirty_lines.py:Sites", spec, "--dataset", data, "--n", 2)
            words = (*words, "--seeds", 1, "--out", outside / "out")
            ran = dismai(*words, DISMAI_SCRATCH_DIR=scratch)
            assert "another `dismai study` is making it" in ran.refusal
    assert not (outside / "out").exists()
    ran = dismai(*words, DISMAI_SCRATCH_DIR=scratch)
    assert ran.code == 0, ran.err
    assert "goes on with" not in ran.err


def test_a_control_makes_its_dataset(dismai: Dismai, spec: Path, tmp_path: Path) -> None:
    """Without --dataset the dataset is made, its controls by the protocol of the study."""
    ran = dismai(
        "study", "random-occupancy", spec, "--n-data", 10, "--n", 8, "--seeds", 2,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "a control, which learns nothing" in ran.words
    dataset = open_dataset(tmp_path / "out" / "dataset")
    assert sum(dataset.card.counts.values()) == 10
    assert not (tmp_path / "out" / "models").exists()


def test_a_scan(dismai: Dismai, spec: Path, data: Path, outside: Path) -> None:
    """More noise, more structures with vacancies or a larger distance; a row for each."""
    ran = dismai(
        "study", "thirty_lines.py:Sites", spec, "--dataset", data, "--n", 6, "--seeds", 1,
        "--scan", "noise=0.01,0.9", "--out", outside / "out", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    rows = {row["label"]: row for row in json.loads(ran.out)["rows"]}
    assert list(rows) == ["noise=0.01", "noise=0.9"]
    assert rows["noise=0.01"]["close_pairs"] == 0
    assert rows["noise=0.9"]["close_pairs"] > 1
    assert len(list((outside / "out" / "scores").glob("*/score.json"))) == 2
    drawn = dismai("report", outside / "out")
    assert drawn.code == 0, drawn.err
    assert "noise=0.9" in (outside / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["thirty_lines.py:Sites", "--set", "nois=1"], "noise"),
        (["thirty_lines.py:Sites", "--set", "noise"], "KEY=VALUE"),
        (["thirty_lines.py:Nothing"], "Nothing"),
        (["no-such-model"], "unknown model"),
        (["thirty_lines.py:Sites", "--scan", "noise"], "KEY=VALUE,VALUE"),
        (["thirty_lines.py:Sites", "--scan", "noise=1,1"], "each once"),
        (["thirty_lines.py:Sites", "--progress", "1,2"], "keeps no weights"),
        (["thirty_lines.py:Sites", "--progress", "a"], "epochs"),
        (["thirty_lines.py:Sites", "--n-data", "10"], "--n-data"),
        (["thirty_lines.py:Sites", "--potential", "sw"], "alloy"),
        (["thirty_lines.py:Sites", "--equal-time", "10"], "cannot be trained for a given time"),
        (["thirty_lines.py:Sites,thirty_lines.py:Sites"], "name each model once"),
        (["thirty_lines.py:Sites,random-occupancy", "--scan", "noise=1,2"], "name one"),
        (["all", "--size", "huge"], "--size huge"),
        (["all", "--set", "cryingan.latent=1"], "latent"),
        (["all", "--set", "nosuch.x=3"], "names none of the models"),
        (["cryingan,nosuch", "--size", "small"], "unknown model"),
    ],
)
def test_refused_before_anything_runs(
    dismai: Dismai, spec: Path, data: Path, outside: Path, words: list[str], said: str
) -> None:
    model, *rest = words
    ran = dismai("study", model, spec, "--dataset", data, "--out", outside / "out", *rest)
    assert said in ran.refusal
    assert not (outside / "out").exists()


def test_train_and_generate(dismai: Dismai, data: Path, outside: Path, spec: Path) -> None:
    """A folder that can be sampled again and again, the same seed giving the same."""
    folder = outside / "trained"
    ran = dismai(
        "train", "counting.py:Counter", data, "--out", folder, DISMAI_SYSTEMS_DIR=spec.parent
    )
    assert ran.code == 0, ran.err
    files = []
    for seed in (1, 1, 2):
        path = outside / f"{len(files)}.extxyz"
        ran = dismai("generate", folder, "--n", 3, "--seed", seed, "--out", path)
        assert ran.code == 0, ran.err
        files.append(path.read_text())
    assert files[0] == files[1] != files[2]
    assert "is there already" in dismai("generate", folder, "--n", 1, "--out", path).refusal
    (folder / "train.bin").unlink()
    refusal = dismai("generate", folder, "--n", 1, "--out", outside / "new.extxyz").refusal
    assert "train.bin: is missing" in refusal
    assert "no trained model" in dismai("generate", data, "--n", 1, "--out", "x.extxyz").refusal


def test_generated_structures_that_are_not_finite_are_told(
    dismai: Dismai, data: Path, outside: Path, spec: Path
) -> None:
    (outside / "wrong.py").write_text(WRONG.replace('how="empty"', 'how="nan"'))
    folder = outside / "trained"
    ran = dismai("train", "wrong.py:Wrong", data, "--system", spec, "--out", folder)
    assert ran.code == 0, ran.err
    ran = dismai("generate", folder, "--n", 3, "--out", outside / "made.extxyz")
    assert ran.code == 0, ran.err
    assert "3 of 3 hold coordinates that are not finite" in ran.err


def test_a_model_that_generates_nothing(
    dismai: Dismai, spec: Path, data: Path, outside: Path
) -> None:
    """All that was asked for is counted as missing, and there is no score to show."""
    (outside / "wrong.py").write_text(WRONG)
    ran = dismai(
        "study", "wrong.py:Wrong", spec, "--dataset", data, "--n", 4, "--seeds", 1,
        "--out", outside / "out", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    (row,) = json.loads(ran.out)["rows"]
    assert row["runs"][0]["check"]["reasons"] == {"missing": 4}
    assert (row["n_generated"], row["n_scored"]) == (4, 0)
    assert not row["learning"]["shown"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("empty", "3 of 3 structures fail: missing"),
        ("nan", "3 of 3 structures fail: not_finite"),
        ("list", "sample has returned list: it must return a StructureSet"),
        ("raises", "sample failed (ValueError: bad luck)"),
        ("fit", "fit failed (RuntimeError: no memory)"),
    ],
)
def test_a_check_tells_what_is_wrong(dismai: Dismai, outside: Path, how: str, said: str) -> None:
    text = WRONG.replace('how="empty"', f'how="{how}"')
    (outside / f"wrong_{how}.py").write_text(text)
    assert said in dismai("models", "check", f"wrong_{how}.py:Wrong").refusal


@pytest.mark.slow
def test_told_to_stop_here(dismai: Dismai, data: Path, outside: Path, spec: Path) -> None:
    """SIGTERM ends the command, which goes on where it was when it is given again."""
    pytest.importorskip("torch")
    words = ("train", "cryingan", data, "--system", spec, "--out", outside / "trained")
    words = (*words, "--size", "small", "--set", "max_steps=400", "--set", "batch_size=2")
    scratch = outside / "scratch"
    process = dismai.popen(*words, cwd=outside, DISMAI_SCRATCH_DIR=scratch, OMP_NUM_THREADS=1)
    end = time.monotonic() + 180
    while not any(scratch.rglob("log.csv")):
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.terminate()
    _, said = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "goes on from the last checkpoint" in said
    assert list(scratch.rglob("checkpoint.pt"))
    ran = dismai.execute(*words, "--json", cwd=outside, DISMAI_SCRATCH_DIR=scratch)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["step"] == 400
