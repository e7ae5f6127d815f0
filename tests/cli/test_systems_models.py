"""``dismai systems``, ``dismai models``, and the words of the command itself."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from cli.conftest import EXECUTABLE, SMALL, contents
from dismaiflow import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Dismai

SYSTEMS = {
    "alloy-300K-narrow": "alloy",
    "alloy-300K-wide": "alloy",
    "alloy-1500K-narrow": "alloy",
    "alloy-1500K-wide": "alloy",
    "amorphous-si": "amorphous",
    "li2o-li-110": "interface",
    "li2o-licl-100-li": "interface",
    "li2o-licl-100-o": "interface",
    "li2o-licl-110": "interface",
    "li2o-mgs-110": "interface",
    "lsc-lco": "interface",
    "lyc-lco": "interface",
    "tiny-li2o-licl": "interface",
}

COMMANDS = [
    (),
    ("quickstart",),
    ("dataset",),
    ("score",),
    ("report",),
    ("systems",),
    *(("systems", word) for word in ("list", "show", "new", "check")),
    ("models",),
    *(("models", word) for word in ("list", "show", "check")),
    ("launchpad",),
    *(("launchpad", word) for word in ("up", "down", "init", "check", "status", "retry")),
]


def test_the_version(dismai: Dismai, tmp_path: Path) -> None:
    """Of the package, and nothing else."""
    ran = dismai.execute("--version", cwd=tmp_path)
    assert (ran.code, ran.out, ran.err) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_helps(dismai: Dismai, words: tuple[str, ...], option: str) -> None:
    """The usage line, a sentence, and every option with a word about it."""
    ran = dismai(*words, option)
    assert ran.err == ""
    assert f"Usage: dismai {' '.join(words)}".rstrip() in ran.words


@pytest.mark.parametrize("words", [(), ("systems",), ("models",)], ids=" ".join)
def test_no_words_print_the_help(dismai: Dismai, words: tuple[str, ...]) -> None:
    """As with most commands, with an exit code that a script notices."""
    ran = dismai(*words)
    assert (ran.code, ran.err) == (2, "")
    assert "Usage: dismai" in ran.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("datset",), "No such command 'datset'"),
        (("dataset",), "Missing argument 'SYSTEM'"),
        (("score", "tiny", "gen.extxyz", "--out", "x"), "Missing option '--reference'"),
        (("score", "tiny", "--reference", "x", "--out", "x"), "Missing argument 'GENERATED'"),
        (("score", "tiny", "x", "--frobnicate"), "No such option: --frobnicate"),
        (("score", "tiny", "x", "--out"), "Option '--out' requires an argument"),
        (("dataset", "tiny", "--out", "x", "--n", "many"), "Invalid value for '--n'"),
        (("systems", "shwo"), "No such command 'shwo'"),
        (("systems", "list", "more"), "unexpected extra argument"),
    ],
)
def test_wrong_words_get_one_line(dismai: Dismai, words: tuple[str, ...], message: str) -> None:
    """Exit code 2, what is wrong, and how to get help."""
    refusal = dismai(*words).refusal
    assert message in refusal
    assert refusal.endswith("-h` shows how)")


def test_results_go_to_a_folder_or_stay_in_the_store(dismai: Dismai, tmp_path: Path) -> None:
    """A run here needs --out, a submission refuses it; both before any file is read."""
    for words in (("dataset", "tiny"), ("score", "tiny", "x", "--reference", "x")):
        assert dismai(*words).refusal == (
            "Missing option '--out': name a folder for the results, or --submit"
        )
        assert dismai(*words, "--submit", "--out", tmp_path / "x").refusal == (
            "--out does not go with --submit: the results stay in the store; fetch them with "
            "`dismai results export RUN --out DIR`"
        )
    assert not (tmp_path / "x").exists()


def test_systems_are_listed(dismai: Dismai) -> None:
    """The six of the paper."""
    ran = dismai("systems", "list")
    found = json.loads(dismai("systems", "list", "--json").out)
    assert {one["name"]: one["kind"] for one in found} == SYSTEMS
    for one in found:
        assert one["name"] in ran.words
        assert one["n_atoms"] > 0


@pytest.mark.parametrize("name", SYSTEMS)
def test_systems_are_shown_and_checked(dismai: Dismai, name: str, tmp_path: Path) -> None:
    """As YAML with sources, as JSON, and with one line that says that all is well."""
    shown = yaml.safe_load(dismai("systems", "show", name).out)
    assert shown["name"] == name
    assert shown["sources"]
    assert json.loads(dismai("systems", "show", name, "--json").out)["kind"] == SYSTEMS[name]
    drawn = ("--pictures", tmp_path)
    assert dismai("systems", "check", name, *drawn).words.startswith(f"{name}: {SYSTEMS[name]}, ")


@pytest.mark.parametrize("kind", ["alloy", "amorphous", "interface"])
def test_new_systems_work_as_they_are(dismai: Dismai, kind: str, tmp_path: Path) -> None:
    """The template passes the check, and can be used by its name from the user's folder."""
    folder = dismai.home / ".dismai" / "systems"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"my-{kind}.yaml"
    assert "wrote" in dismai("systems", "new", f"my-{kind}", "--kind", kind, "--out", path).words
    try:
        for name in (path, f"my-{kind}"):
            checked = dismai("systems", "check", name, "--pictures", tmp_path)
            assert "in order" in checked.words
        assert f"my-{kind}" in dismai("systems", "list").words
    finally:
        path.unlink()


def test_a_new_alloy_needs_no_python(
    dismai: Dismai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New, check, dataset, score: four commands in an empty folder."""
    monkeypatch.chdir(tmp_path)
    assert "wrote mine.yaml" in dismai("systems", "new", "mine").words
    assert "Cu81Au27, 108 atoms" in dismai("systems", "check", "mine.yaml").words
    assert "wrote data/mine" in dismai("dataset", "mine.yaml", "--out", "data", *SMALL).words
    words = ("--reference", "data/mine", "--out", "score")
    assert "6 of 6" in dismai("score", "mine.yaml", "data/mine/val.extxyz", *words).words
    assert sorted(contents(tmp_path / "score")) == ["report.html", "score.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "mine.yaml", "score"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("systems", "show", "alloy-300K-wied"), "did you mean alloy-300K-wide"),
        (("systems", "show", "zzz"), "unknown system 'zzz'"),
        (("systems", "check", "gone.yaml"), "gone.yaml: no such file"),
        (("systems", "new", "x", "--kind", "aloy"), "unknown kind of system 'aloy'"),
        (("systems", "new", "a/b"), "a/b"),
        (("systems", "new", "x", "--out", "/dev/null/x.yaml"), "/dev/null/x.yaml: "),
        (("models", "show", "ratled"), "unknown model 'ratled': did you mean rattled"),
        (("models", "show", "no.module:Class"), "no.module:Class: cannot be made"),
        (("models", "show", "json:loads"), "json:loads: "),
        (("models", "check", "collections:Counter"), "needs the methods fit, sample and card"),
    ],
)
def test_wrong_names_are_told(dismai: Dismai, words: tuple[str, ...], message: str) -> None:
    """One line with the nearest known names."""
    assert message in dismai(*words).refusal


def test_files_are_not_written_over(dismai: Dismai, tmp_path: Path) -> None:
    """A spec that somebody has edited stays."""
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    assert "already exists" in dismai("systems", "new", "mine", "--out", path).refusal
    assert contents(tmp_path) == {"mine.yaml": b"mine"}


def test_broken_specs_of_the_user_do_not_hide_the_others(dismai: Dismai) -> None:
    """The list shows what can be read; the broken one says why it cannot."""
    folder = dismai.home / ".dismai" / "systems"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "broken.yaml"
    path.write_text("name: broken\nkind: alloy\n")
    try:
        found = dismai("systems", "list", "--json")
        assert {one["name"] for one in json.loads(found.out)} == set(SYSTEMS)
        assert "Traceback" not in found.err
        assert str(path) in found.err
        assert "broken.yaml" in dismai("systems", "show", "broken").refusal
    finally:
        path.unlink()


def test_models_are_listed_shown_and_checked(dismai: Dismai) -> None:
    """The baselines, each of which samples."""
    names = {"train-resample", "random-occupancy", "rattled", "uniform-random"}
    cards = json.loads(dismai("models", "list", "--json").out)
    assert set(cards) >= names
    listed = dismai("models", "list").words
    for name in names:
        assert name in listed
        assert cards[name]["is_control"]
        assert json.loads(dismai("models", "show", name).out) == cards[name]
        assert "sampled 3 structures" in dismai("models", "check", name).words


def test_a_reader_may_stop_reading(tmp_path: Path) -> None:
    """``dismai ... | head`` ends quietly."""
    ran = subprocess.run(
        ["bash", "-c", f"{EXECUTABLE} systems show lsc-lco | head -1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert ran.stderr == ""
    assert len(ran.stdout.splitlines()) == 1
