"""``dismai results``: what is listed, shown, asked, exported, copied and cleaned."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import ase.io
import pytest
import yaml

from cli.conftest import unchanged
from dismaiflow.store import embedded_jobstore, inventory, put_blob
from dismaiflow.store.inventory import list_entries
from dismaiflow.store.results import ResultsStore
from dismaiflow.store.structures import put_structures
from mongod import HOST, mongod
from report.documents import HASH, SYSTEM, make_card, make_controls, make_score
from store.conftest import server_jobstore
from store.documents import job_document
from store.test_structures import make_set

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli.conftest import Dismai, Ran
    from dismaiflow.structures.structure_set import StructureSet

__all__ = ["mongod"]

SCORES = {"run_id": "5c0e00000001", "system": SYSTEM, "model": "my-model", "tags": ["paper"]}
DATA = {"run_id": "da7a00000001", "system": SYSTEM}
FIRST, SECOND = "aaaa1111-0000-4000-8000-000000000000", "bbbb2222-0000-4000-8000-000000000000"
DATASET, CONTROLS = "dddd3333-0000-4000-8000-000000000000", "cccc4444-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def train() -> StructureSet:
    """Return a training set."""
    return make_set(1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, train: StructureSet) -> Path:
    """Return a store with a run of two scores and an older run of a dataset with its controls."""
    path = tmp_path_factory.mktemp("results") / "store.sqlite"
    with embedded_jobstore(path) as jobstore:
        sets = {
            "train": put_structures(jobstore, train, 3).model_dump(),
            "val": put_structures(jobstore, make_set(2), 3).model_dump(),
        }
        card = make_card().model_dump(mode="json")
        dataset = {"kind": "dataset", "system": SYSTEM, "card": card, "sets": sets}
        controls = make_controls().model_copy(update={"reference_hash": train.content_hash})
        first, second = make_score(), make_score(n_scored=50)
        first.provenance.generated_hashes = [put_structures(jobstore, make_set(3)).content_hash]
        second.provenance.model = "other"
        second.provenance.created = "2026-01-02T00:00:00+00:00"
        for document in (
            job_document(DATASET, dataset, metadata=DATA),
            job_document(CONTROLS, controls.model_dump(mode="json"), metadata=DATA),
            job_document(FIRST, first.model_dump(mode="json"), metadata=SCORES),
            job_document(SECOND, second.model_dump(mode="json"), metadata=SCORES),
        ):
            jobstore.update(document)
        put_blob(jobstore, b"orphan", "alloy_counts")
        stamp = (datetime.now(UTC) - timedelta(days=3)).isoformat(timespec="seconds")
        for entry in list(list_entries(jobstore.additional_stores["data"])):
            inventory._stamp(jobstore.additional_stores["data"], entry.blob_uuid, stamp)
    return path


@pytest.fixture
def results(dismai: Dismai, store: Path) -> Callable[..., Ran]:
    """Return the command on that store."""

    def run(*words: object) -> Ran:
        return dismai("results", *words, "--store", store)

    return run


def refusal(ran: Ran) -> str:
    """Return the one line with which words were refused, after the line that names the store."""
    lines = [line for line in ran.err.splitlines() if not line.startswith("store: ")]
    assert (ran.code, len(lines), ran.out) == (2, 1, ""), ran
    return lines[0]


def rows(ran: Ran) -> list[dict]:
    """Return what was printed as JSON."""
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_list(results: Callable[..., Ran], store: Path) -> None:
    """Every collection is listed, for people and for scripts."""
    ran = results("list")
    assert f"store: {store}" in " ".join(ran.err.split())
    lines = ran.out.splitlines()
    assert lines[0].split()[:6] == ["date", "(UTC)", "system", "model", "protocol", "d_cluster"]
    assert lines[1].split()[:6] == [
        "2026-01-02",
        "00:00",
        SYSTEM,
        "other",
        "published-1-fixed",
        "0.01235",
    ]
    assert lines[2].split()[-3:] == ["97/100", "5c0e00000001", "aaaa1111"]
    assert len(lines) == 3
    assert [row["uuid"] for row in rows(results("list", "--json"))] == [SECOND, FIRST]
    assert [row["seed"] for row in rows(results("list", "datasets", "--json"))] == [1]
    models = rows(results("list", "models", "--json"))
    assert sorted(row["model"] for row in models) == ["my-model", "other"]
    assert rows(results("list", "potentials", "--json")) == []
    runs = {row["run_id"]: row["kinds"] for row in rows(results("list", "runs", "--json"))}
    assert runs == {"5c0e00000001": {"score": 2}, "da7a00000001": {"controls": 1, "dataset": 1}}
    for what in ("datasets", "models", "runs"):
        assert SYSTEM in results("list", what).words
    assert results("list", "potentials").words == "no potentials"


def test_list_filters(results: Callable[..., Ran]) -> None:
    """Each filter chooses, and says so if a collection does not know it."""

    def chosen(*words: str) -> list[str]:
        return [row["uuid"][:4] for row in rows(results("list", "scores", *words, "--json"))]

    assert chosen("--model", "other") == ["bbbb"]
    assert chosen("--system", "no-such") == []
    assert chosen("--protocol", "published") == ["bbbb", "aaaa"]
    assert chosen("--tag", "paper", "--run", "5c0e00000001") == ["bbbb", "aaaa"]
    assert chosen("--run", "5c0e") == ["bbbb", "aaaa"]
    assert chosen("--until", "2026-01-01") == ["aaaa"]
    assert chosen("--since", "2026-01-01T12:00") == ["bbbb"]
    assert chosen("--limit", "0") == ["bbbb", "aaaa"]
    ran = results("list", "--limit", "1", "--json")
    assert len(rows(ran)) == 1
    assert "more than 1: --limit 0 shows all" in ran.err


def test_show(results: Callable[..., Ran]) -> None:
    """A run shows all of its tables; without a name it is the newest."""
    words = results("show", "5c0e").words
    assert words.startswith(f"run 5c0e00000001, {datetime.now(UTC):%Y-%m-%d}")
    assert "my-model on alloy-1500K-wide" in words
    assert "other on alloy-1500K-wide" in words
    words = results("show", "da7a00000001").words
    assert "controls" in words
    assert "undecided" in words
    words = results("show", FIRST[:8]).words
    assert "my-model on" in words
    assert "other on" not in words
    found = rows(results("show", DATASET, "--json"))
    assert [(one["kind"], one["uuid"]) for one in found] == [("dataset", DATASET)]
    newest = rows(results("show", "--json"))
    assert {one["kind"] for one in newest} in ({"score"}, {"dataset", "controls"})


def test_query(results: Callable[..., Ran]) -> None:
    """A raw filter is passed on, rows and documents alike."""
    found = rows(results("query", "scores", '{"n_scored": {"$lt": 90}}', "--fields", "uuid, model"))
    assert found == [{"uuid": SECOND, "model": "other"}]
    found = rows(results("query", "scores", "--sort", "-n_scored", "--fields", "n_scored"))
    assert found == [{"n_scored": 97}, {"n_scored": 50}]
    (document,) = rows(results("query", "outputs", '{"output.kind": "controls"}'))
    assert (document["uuid"], len(document["_id"])) == (CONTROLS, 24)
    assert "made_from" not in rows(results("query", "runs", "--limit", "1"))[0]


def test_export_rows(results: Callable[..., Ran], tmp_path: Path) -> None:
    """Rows become a CSV or JSON file, all of the file or nothing."""
    path = tmp_path / "scores.csv"
    assert "wrote 2 scores" in results("export", "scores", "--out", path).words
    table = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["model"] for row in table] == ["other", "my-model"]
    assert float(table[0]["metrics.d_cluster"]) == 0.012345
    assert float(table[0]["ci95.d_cluster.high"]) == 0.0128
    assert table[0]["metrics.percent_failed"] == "3.0"
    assert table[0]["tags"] == "paper"
    results("export", "runs", "--out", tmp_path / "runs.txt", "--format", "json", "--tag", "paper")
    assert [row["run_id"] for row in json.loads((tmp_path / "runs.txt").read_text())] == [
        "5c0e00000001"
    ]
    with unchanged(tmp_path):
        assert "already exists" in refusal(results("export", "scores", "--out", path))


def test_export_run(
    results: Callable[..., Ran], dismai: Dismai, tmp_path: Path, train: StructureSet
) -> None:
    """A run becomes the folder that the command would have written."""
    assert results("export", "5c0e", "--out", tmp_path / "scores").code == 0
    found = sorted(path.parent.name for path in (tmp_path / "scores").glob("*/score.json"))
    assert found == [
        "000_alloy-1500K-wide_my-model_published-1-fixed",
        "001_alloy-1500K-wide_other_published-1-fixed",
    ]
    assert results("export", FIRST, "--out", tmp_path / "score").code == 0
    stored = json.loads((tmp_path / "score" / "score.json").read_text())
    assert (stored["n_scored"], stored["provenance"]["reference_hash"]) == (97, HASH)
    assert results("export", "da7a", "--out", tmp_path / "data").code == 0
    folder = tmp_path / "data" / SYSTEM
    assert len(ase.io.read(folder / "train.extxyz", ":")) == len(train)
    card = json.loads((folder / "dataset.json").read_text())
    assert list(card["controls"]) == ["published-1-fixed"]
    assert card["content_hashes"]["train"] == train.content_hash
    for name in ("scores", "score", "data"):
        assert (tmp_path / name / "report.html").stat().st_size > 10_000
        assert dismai("report", tmp_path / name).code == 0


def test_export_structures(
    results: Callable[..., Ran], tmp_path: Path, train: StructureSet
) -> None:
    """Structures are fetched by the beginning of their hash, generated ones too."""
    path = tmp_path / "train.extxyz"
    assert "wrote 7 structures" in results("export", train.content_hash[:10], "--out", path).words
    frames = ase.io.read(path, ":")
    assert frames[0].numbers.tolist() == train.atoms(0).numbers.tolist()
    generated = make_set(3).content_hash
    assert results("export", generated, "--out", tmp_path / "gen.xyz").code == 0


def test_copy_and_server(
    results: Callable[..., Ran], dismai: Dismai, store: Path, tmp_path: Path, mongod: int
) -> None:
    """A run is copied to a server, read there, and copied back into a file."""
    place = {"host": HOST, "port": mongod, "database": "results_copy"}
    config = tmp_path / "jobflow.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "JOB_STORE": {
                    "docs_store": {"type": "MongoStore", "collection_name": "outputs", **place},
                    "additional_stores": {
                        "data": {"type": "GridFSStore", "collection_name": "blobs", **place}
                    },
                }
            }
        )
    )
    assert "2 of 2 documents" in results("copy", "5c0e", "--to", config).words
    assert "0 of 2 documents" in results("copy", "5c0e", "--to", config).words
    ran = dismai("results", "list", "--json", "--store", config)
    assert f"store: {HOST}:{mongod}, as {config} says" in " ".join(ran.err.split())
    assert rows(ran) == rows(results("list", "--json"))
    assert "0 orphans" in dismai("results", "gc", "--store", config).words
    assert "no my_launchpad.yaml" in refusal(dismai("results", "gc", "--remove", "--store", config))
    back = tmp_path / "back.sqlite"
    ran = dismai("results", "copy", "5c0e", "--store", config, "--to", back)
    assert "2 of 2 documents" in ran.words
    assert rows(dismai("results", "show", "5c0e", "--json", "--store", back)) == rows(
        results("show", "5c0e", "--json")
    )
    ran = results("copy", "5c0e", "--to", store)
    assert "in already" in refusal(ran)
    with server_jobstore(mongod, "results_copy") as jobstore:
        assert [row.uuid for row in ResultsStore(jobstore).scores(model="other")] == [SECOND]


def test_gc(results: Callable[..., Ran], dismai: Dismai, store: Path, tmp_path: Path) -> None:
    """Orphans are named, and removed only when asked."""
    ran = results("gc")
    assert "alloy_counts: 1 orphans" in ran.words
    assert "nothing was removed" in ran.words
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(store.read_bytes())
    done = rows(dismai("results", "gc", "--remove", "--json", "--store", copy))
    assert done["orphans"]["alloy_counts"]["n"] == done["n_removed"] == 1
    assert (done["n_kept"], done["n_young"]) == (10, 0)
    assert "0 orphans" in dismai("results", "gc", "--store", copy).words
    assert "2" in refusal(results("gc", "--older-than", "1"))


def test_build(results: Callable[..., Ran], store: Path, dismai: Dismai, tmp_path: Path) -> None:
    """The collections can be brought up to date by themselves."""
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(store.read_bytes())
    with embedded_jobstore(copy) as jobstore:
        jobstore.update(job_document("new", make_score().model_dump(mode="json")))
    assert "1 scores" in dismai("results", "build", "--store", copy).words
    assert dismai("results", "build", "--store", copy).words == "all collections were up to date"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("list", "score"), "results list score: choose scores or datasets"),
        (("list", "datasets", "--model", "x"), "datasets cannot be chosen by --model"),
        (("list", "--since", "yesterday"), "since 'yesterday': give a date such as 2026-01-31"),
        (("list", "--limit", "-1"), "Invalid value for '--limit'"),
        (("show", "feed00000000"), "no run, score or dataset of this name"),
        (("show", "5c"), "give at least 4"),
        (("query", "scores", "{n: 1}"), "the filter is not JSON"),
        (("query", "scores", "[1]"), "must be an object"),
        (("query", "scores", '{"$near": 1}'), "does not understand this query"),
        (("query", "nothing"), "no collection 'nothing'"),
        (("export", "scores", "--out", "new.xlsx"), "--format xlsx: choose csv or json"),
        (("export", "scores", "--out", "new"), "--out new: end it in .csv or .json, or say --form"),
        (("list", "--run", "feed00"), "run feed00: the store has no such run"),
        (("list", "models", "--run", "5c0e"), "models cannot be chosen by --run"),
        (("export", "scores", "--out", "no/such/folder.csv"), "no such folder"),
        (("export", "5c0e", "--out", "new", "--model", "x"), "the filters belong to"),
        (("export", "feed", "--out", "new"), "no run, score or dataset"),
        (("export", "feed", "--out", "new.extxyz"), "no structure set"),
        (("export", "nothex", "--out", "new.extxyz"), "digits 0-9a-f"),
        (("copy", "feed", "--to", "new.sqlite"), "no such run"),
    ],
)
def test_refusals(
    results: Callable[..., Ran],
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wrong word gets one line and leaves nothing behind."""
    monkeypatch.chdir(tmp_path)
    assert said in refusal(results(*words))
    assert {path.name for path in tmp_path.iterdir()} <= {"new.sqlite"}


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("", "--store is empty"),
        ("launchpad", "no LaunchPad is configured"),
        ("no-such.sqlite", "there is no store yet"),
        ("jobflow.yaml", "no such file"),
    ],
)
def test_wrong_store(dismai: Dismai, choice: str, said: str, tmp_path: Path) -> None:
    """A store that cannot be read is said so in one line."""
    given = tmp_path / choice if "." in choice else choice
    with unchanged(tmp_path):
        assert said in dismai("results", "list", "--store", given).refusal


def test_launchpad_folder_without_launchpad(dismai: Dismai, store: Path, tmp_path: Path) -> None:
    """A folder that was named wrongly is not passed over for the local store."""
    named = {"DISMAI_STORE_PATH": store, "DISMAI_LAUNCHPAD_DIR": tmp_path / "typo"}
    for words in (("list",), ("show",), ("gc",), ("build",), ("query", "runs")):
        said = refusal(dismai("results", *words, **named))
        assert f"{tmp_path / 'typo'}: the setting LAUNCHPAD_DIR" in said
    assert rows(dismai("results", "list", "--json", "--store", "local", **named))
    default = dismai.home / ".dismai" / "launchpad"
    said = refusal(dismai("results", "list", **named | {"DISMAI_LAUNCHPAD_DIR": default}))
    assert f"{default}: the setting" in said
    config = tmp_path / "config.yaml"
    config.write_text(f"LAUNCHPAD_DIR: {tmp_path / 'typo'}\n")
    variables = {"DISMAI_STORE_PATH": store, "DISMAI_CONFIG_FILE": config}
    assert "the setting LAUNCHPAD_DIR" in refusal(dismai("results", "list", **variables))


def test_server_gone(dismai: Dismai, tmp_path: Path) -> None:
    """A server that does not answer is said so in one line, in a few seconds."""
    config = tmp_path / "jobflow.yaml"
    config.write_text(
        "JOB_STORE:\n"
        "  docs_store: {type: MongoStore, host: 127.0.0.1, port: 9, database: d, "
        "collection_name: outputs, username: u, password: geheim}\n"
        "  additional_stores:\n"
        "    data: {type: GridFSStore, host: 127.0.0.1, port: 9, database: d, "
        "collection_name: b, username: u, password: geheim}\n"
    )
    said = dismai("results", "list", "--store", config).refusal
    assert "no MongoDB server answers at 127.0.0.1:9" in said
    assert "geheim" not in said


def test_the_ranking_metric_comes_first() -> None:
    """Interfaces have more metrics than a table has places, and d_all is the one that ranks."""
    from types import SimpleNamespace

    from dismaiflow.cli.results import _model_cells, _score_cells

    metrics = {"d_li": 0.1, "d_co": 0.2, "d_sc": 0.3, "d_all": 0.4, "percent_failed": 0.0}
    score = SimpleNamespace(
        date=None, system="s", model="m", protocol="p", metrics=metrics, n_scored=1, n_generated=1,
        run_id="r", uuid="u" * 8,
    )  # fmt: skip
    assert next(key for key in _score_cells(score) if key.startswith("d_")) == "d_all"
    model = SimpleNamespace(
        system="s", model="m", n_scores=1, latest=None, n_trained=0, best={"p": metrics, "q": {}}
    )
    assert _model_cells(model)["best"] == "d_all 0.4 (p)"
