"""``dismai results export``: tables, runs and structures out of the store, as files."""

from __future__ import annotations

import csv
import io
import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dismaiflow.cli.console import one_of, out
from dismaiflow.cli.results_options import (
    COLLECTIONS,
    ModelOption,
    ProtocolOption,
    RunOption,
    SinceOption,
    StatusOption,
    StoreOption,
    SystemOption,
    TagOption,
    UntilOption,
    find_rows,
    opened_results,
)
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobflow import JobStore
    from pydantic import BaseModel

    from dismaiflow.benchmark.schemas import ControlsDoc, ScoreDoc
    from dismaiflow.cli.results_documents import Found
    from dismaiflow.cli.stores import OpenStore
    from dismaiflow.store.datasets import DatasetDoc
    from dismaiflow.store.results import ResultsStore

_FORMATS = ("csv", "json")
_STRUCTURES = (".extxyz", ".xyz")

#: What a report is written of, even of none.
_SCORED = ("score", "dataset")


def export(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help=f"{' | '.join(COLLECTIONS)}, or a run, or the beginning of a content hash.",
        ),
    ],
    target: Annotated[
        Path,
        typer.Option(
            "--out", help="The file; the folder of a run; a .extxyz file for a content hash."
        ),
    ],
    format_: Annotated[
        str | None, typer.Option("--format", help="csv or json; by default as the file ends.")
    ] = None,
    system: SystemOption = None,
    model: ModelOption = None,
    protocol: ProtocolOption = None,
    status: StatusOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    tag: TagOption = None,
    run: RunOption = None,
    store: StoreOption = None,
) -> None:
    """Write rows to a CSV or JSON file, a run to a folder, or structures to an extxyz file."""
    filters = {
        "system": system,
        "model": model,
        "protocol": protocol,
        "status": status,
        "since": since,
        "until": until,
        "tag": tag,
        "run_id": run,
    }
    if what in COLLECTIONS:
        if not (format_ or target.suffix):
            raise DismaiError(f"--out {target}: end it in .csv or .json, or say --format csv")
        chosen = one_of("--format", format_ or target.suffix.removeprefix("."), _FORMATS)
        _check_file(target)
        with opened_results(store) as (_, results):
            rows = find_rows(results, what, filters)
        _write(target, _csv(rows) if chosen == "csv" else _json(rows))
        out.print(f"wrote {len(rows)} {what} to {target}", soft_wrap=True)
        return
    if format_ or any(value is not None for value in filters.values()):
        raise DismaiError(f"--format and the filters belong to {', '.join(COLLECTIONS)}")
    with opened_results(store) as (found, results):
        if target.suffix in _STRUCTURES:
            _check_file(target)
            _export_structures(results, what, target)
        else:
            _export_run(found, results, what, target)


def _check_file(target: Path) -> None:
    """Refuse a file that cannot be written, before the store is asked."""
    if target.exists():
        raise DismaiError(f"{target}: already exists; choose another --out")
    if not target.absolute().parent.is_dir():
        raise DismaiError(f"{target.absolute().parent}: no such folder; make it first")


def _write(target: Path, text: str) -> None:
    from dismaiflow.structures.files import write_text

    write_text(target, text)


def _json(rows: Sequence[BaseModel]) -> str:
    return json_.dumps([row.model_dump(mode="json") for row in rows], indent=1) + "\n"


def _csv(rows: Sequence[BaseModel]) -> str:
    """Return rows as CSV: the columns of all rows, in the order in which they first appear."""
    from dismaiflow.store.rows import flat

    tables = [flat(row) for row in rows]
    names = list(dict.fromkeys(name for table in tables for name in table))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(tables)
    return stream.getvalue()


def _export_structures(results: ResultsStore, content_hash: str, target: Path) -> None:
    from dismaiflow.structures.dataset import extxyz_text

    structures = results.structures(content_hash)
    _write(target, extxyz_text(structures))
    out.print(
        f"wrote {len(structures)} structures ({structures.content_hash[:12]}) to {target}",
        soft_wrap=True,
    )


def _export_run(store: OpenStore, results: ResultsStore, name: str, target: Path) -> None:
    """Write everything of a run, all or nothing."""
    from dismaiflow.cli.results_documents import find_documents, not_yet_explained
    from dismaiflow.cli.results_kinds import write_documents
    from dismaiflow.report.words import plural
    from dismaiflow.structures.files import check_out_folder, new_folder

    check_out_folder(target)
    with not_yet_explained(store, name):
        found = find_documents(results, name)
    rehearsals = found.others.get("rehearsal", [])
    if len(rehearsals) == 1:
        from dismaiflow.report.rehearsal_folder import export_rehearsal

        export_rehearsal(results.jobstore, rehearsals[0], target)
        out.print(f"wrote the rehearsal of {rehearsals[0].system} to {target}", soft_wrap=True)
        return
    relaxations = results.relaxations(run_id=found.run_id) if found.run_id else []
    if not (found.scores or found.datasets or found.controls or found.others or relaxations):
        raise DismaiError(
            f"{name}: this run has left nothing to export; if it is not done, wait for it "
            f"(`dismai launchpad status {name}`)"
        )
    with new_folder(target) as partial:
        counts = {"score": len(found.scores), "dataset": len(found.datasets)}
        counts |= write_documents(results.jobstore, found.others, partial)
        if relaxations:
            (partial / "relaxations.csv").write_text(_csv(relaxations), encoding="utf-8")
            counts["relaxation"] = len(relaxations)
        files = _write_scored(results.jobstore, found, partial)
    shown = {word: n for word, n in counts.items() if n or (files and word in _SCORED)}
    written = ", ".join(plural(n, word) for word, n in shown.items())
    out.print(f"wrote {written or 'the documents'}{files} to {target}", soft_wrap=True)


def _write_scored(jobstore: JobStore, found: Found, folder: Path) -> str:
    """Write scores, datasets and controls with their report; say so, where there is one."""
    from dismaiflow.report.html import write_report

    if not (found.scores or found.datasets or found.controls):
        return ""
    controls: dict[str, dict[str, ControlsDoc]] = {}
    for one in found.controls:
        controls.setdefault(one.system, {})[one.protocol.key] = one
    for place, score in zip(_score_folders(found.scores), found.scores, strict=True):
        (folder / place).mkdir(parents=True, exist_ok=True)
        text = score.model_dump_json(indent=1)
        (folder / place / "score.json").write_text(text, encoding="utf-8")
    _write_datasets(jobstore, found, folder)
    write_report(
        folder / "report.html",
        scores=found.scores,
        datasets=[one.card for one in found.datasets],
        controls=controls,
        title=found.title.partition(",")[0],
    )
    return " and report.html"


def _score_folders(scores: Sequence[ScoreDoc]) -> list[str]:
    """Return where each score goes: the folder itself if there is only one."""
    if len(scores) == 1:
        return ["."]
    words = [f"{s.system} {s.provenance.model} {s.protocol.key}" for s in scores]
    return [f"{number:03d} {_safe(text)}".replace(" ", "_") for number, text in enumerate(words)]


def _safe(text: str) -> str:
    return "".join(c if c.isalnum() or c in " .-" else "-" for c in text)[:120]


def _write_datasets(jobstore: JobStore, found: Found, folder: Path) -> None:
    """Write dataset folders, each with the scores of its controls on its card."""
    from dismaiflow.store.datasets import export_dataset

    names: dict[str, int] = {}
    for document in found.datasets:
        document.card.controls = _controls_of(document, found.controls)
        number = names[document.system] = names.get(document.system, 0) + 1
        name = document.system if number == 1 else f"{document.system}-{number}"
        export_dataset(jobstore, document, folder / name)


def _controls_of(document: DatasetDoc, controls: Sequence[ControlsDoc]) -> dict[str, Any]:
    train = document.sets["train"].content_hash
    return {
        one.protocol.key: one.model_dump(mode="json")
        for one in controls
        if one.reference_hash == train and one.complete
    }
