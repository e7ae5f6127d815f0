"""What DFT, trainings and studies leave in a store: read, drawn as tables, written as folders."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from jobflow import JobStore
    from pydantic import BaseModel
    from rich.console import RenderableType
    from rich.table import Table

#: Documents that are shown and exported besides scores, datasets and controls, by kind. They are
#: imported when one is read, because some of them need seconds for that.
SCHEMAS = {
    "frames": "dismaiflow.store.frames:FramesDoc",
    "trained_potential": "dismaiflow.potentials.training_jobs:TrainedDoc",
    "training_sweep": "dismaiflow.potentials.training_jobs:SweepDoc",
    "committee": "dismaiflow.potentials.training_jobs:CommitteeDoc",
    "active_learning": "dismaiflow.campaigns.active_schemas:ActiveLearningDoc",
    "fitted_expansion": "dismaiflow.alloy.fit_schemas:FittedExpansionDoc",
    "rehearsal": "dismaiflow.campaigns.rehearsal:RehearsalDoc",
    "trained_model": "dismaiflow.models.schemas:TrainedModelDoc",
    "study": "dismaiflow.campaigns.study_schemas:StudyDoc",
    "region_evaluation": "dismaiflow.benchmark.region_schemas:RegionEvaluationDoc",
    "dft_run": "dismaiflow.dft.schemas:RunDoc",
}

#: Those of them that are collected for a run; single relaxations are in a list of their own.
OF_RUNS = tuple(kind for kind in SCHEMAS if kind != "dft_run")

Documents = dict[str, list[Any]]


def schema_of(kind: str) -> type[BaseModel]:
    """Return the class of the documents of a kind."""
    module, _, name = SCHEMAS[kind].partition(":")
    found: type[BaseModel] = getattr(importlib.import_module(module), name)
    return found


def tables_of(documents: Documents) -> Iterator[RenderableType]:
    """Yield a table for each document, and what its card warns of."""
    from rich.console import Group
    from rich.text import Text

    for kind, found in documents.items():
        for document in found:
            parts: list[RenderableType] = [_TABLES[kind](document)]
            card = getattr(document, "card", document)
            warnings = getattr(card, "warnings", [])
            parts += [Text(f"- {warning}", style="yellow") for warning in warnings]
            yield Group(*parts)


def _facts(title: str, facts: Mapping[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.title, table.title_justify, table.title_style = title, "left", "bold"
    for name, value in facts.items():
        if value not in (None, "", [], {}):
            table.add_row(Text(name, style="dim"), Text(_words(value)))
    return table


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_words(of)}" for name, of in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _grid(title: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    from rich.table import Table

    table = Table(*names, box=None, header_style="bold", title=title, title_justify="left")
    for row in rows:
        table.add_row(*("-" if value is None else _words(value) for value in row))
    return table


def _frames_table(document: Any) -> Table:
    card = document.card
    facts = {
        "frames": card.counts,
        "relaxations": card.parents,
        "ended": card.runs,
        "restarts": card.statistics.get("restarts"),
        "corrections": card.statistics.get("corrections"),
        "divided by": card.split.get("by"),
        "labels": [label.title for label in card.labels],
        "made": card.created,
    }
    return _facts(f"frames of {document.system}", facts)


def errors_table(card: Any) -> Table:
    """Return the errors of a trained potential on each set, beside those of predicting nothing.

    Parameters
    ----------
    card : TrainedCard
        Its card.
    """
    names = ("set", "frames", "parents", "E (meV/atom)", "mean E", "F (meV/Å)", "no F", "S (GPa)")
    rows = []
    for name, errors in card.errors.items():
        base = card.baselines[name]
        texts = [f"{errors.energy * 1e3:.2f}", f"{base.energy * 1e3:.2f}"]
        texts += [f"{errors.force * 1e3:.1f}", f"{base.force * 1e3:.1f}"]
        stress = None if errors.stress is None else f"{errors.stress:.4f}"
        rows.append([name, card.frames[name], card.parents[name], *texts, stress])
    return _grid("", names, rows)


def _trained_table(document: Any) -> RenderableType:
    from rich.console import Group

    card = document.card
    facts = {
        "best epoch": f"{card.best_epoch} of {card.done}, {card.seconds:.0f} s on {card.device}",
        "weights": document.potential.card.hash[:12],
        "fine-tuned from": (card.start or "")[:12],
        "labels": [label.title for label in card.labels],
    }
    return Group(
        _facts(f"potential {document.potential.name} of {document.system}", facts),
        errors_table(card),
    )


def _sweep_table(document: Any) -> Table:
    names = ("model", "E (meV/atom)", "F (meV/Å)", "S (GPa)", "L", "epoch", "of", "hours")
    rows = [
        [
            f"{row.name} (best)" if row.name == document.best else row.name,
            1e3 * row.errors.energy,
            1e3 * row.errors.force,
            row.errors.stress,
            row.loss,
            row.best_epoch,
            row.epochs,
            row.seconds / 3600,
        ]
        for row in document.rows
    ]
    rows += [[f"{name} (failed)", *[None] * 7] for name in document.lost]
    return _grid(f"sweep of {document.system}, validation errors", names, rows)


def _committee_table(document: Any) -> Table:
    names = ("member", "weights", "set", "E (meV/atom)", "F (meV/Å)")
    rows = []
    for member, card in zip(document.members, document.cards, strict=True):
        name = next(name for name in ("test", "val", "train") if name in card.errors)
        errors = card.errors[name]
        rows.append(
            [member.name, member.card.hash[:12], name, 1e3 * errors.energy, 1e3 * errors.force]
        )
    lost = f", {document.lost} failed" if document.lost else ""
    return _grid(f"committee of {document.system}{lost}", names, rows)


def _active_table(document: Any) -> Table:
    names = ("round", "frames", "labelled", "E (meV/atom)", "F (meV/Å)", "apart (meV/Å)", "picked")
    rows = [
        [
            number,
            row.n_frames,
            row.n_labelled,
            None if row.test_energy is None else 1e3 * row.test_energy,
            None if row.test_force is None else 1e3 * row.test_force,
            1e3 * row.watched.force,
            len(row.picked),
        ]
        for number, row in enumerate(document.rounds)
    ]
    title = f"active learning on {document.system}, stopped by {document.stopped_by}"
    return _grid(title, names, rows)


def _expansion_table(document: Any) -> Table:
    fit = document.expansion["fit"]
    facts = {
        "cells": len(document.names),
        "not used": document.failures,
        "RMSE held out (meV/atom)": 1e3 * fit["cross_validation"]["rmse"],
        "energies": "made up by a stand-in: a rehearsal" if document.rehearsal else "calculated",
    }
    return _facts(f"cluster expansion of {document.system}", facts)


def _rehearsal_table(document: Any) -> RenderableType:
    from dismaiflow.cli.rehearse import summary_table
    from dismaiflow.report.rehearsal_folder import rehearsal_summary

    return summary_table(rehearsal_summary(document))


def _run_table(document: Any) -> Table:
    facts = {
        "stage": document.stage,
        "status": document.status,
        "reason": document.reason,
        "ionic steps": document.n_steps,
        "restarts": document.n_restarts,
        "corrections": document.corrections,
        "energy (eV)": document.energy,
        "largest force (eV/Å)": document.max_force,
        "frames": document.n_frames,
        "label": document.label.title if document.label else None,
        "folder": document.dir_name,
    }
    return _facts(f"relaxation of {document.parent}", facts)


def _model_table(document: Any) -> Table:
    facts = {
        "settings": document.choice.settings,
        "seed": document.seed,
        "steps": document.step,
        "epochs": document.epoch,
        "seconds": document.seconds,
        "jobs": document.n_launches,
        "device": document.device,
        "losses": document.losses,
        "files": len(document.files),
    }
    return _facts(f"model {document.model} of {document.system}", facts)


def _study_table(document: Any) -> RenderableType:
    from dismaiflow.report.study_tables import study_table

    return study_table(document, {})


def _region_table(document: Any) -> RenderableType:
    from dismaiflow.report.region_section import region_table

    return region_table(document)


_TABLES = {
    "frames": _frames_table,
    "trained_potential": _trained_table,
    "training_sweep": _sweep_table,
    "committee": _committee_table,
    "active_learning": _active_table,
    "fitted_expansion": _expansion_table,
    "rehearsal": _rehearsal_table,
    "trained_model": _model_table,
    "study": _study_table,
    "region_evaluation": _region_table,
    "dft_run": _run_table,
}


def write_documents(jobstore: JobStore, documents: Documents, folder: Path) -> dict[str, int]:
    """Write documents of a run into its folder.

    Parameters
    ----------
    jobstore : JobStore
        Where their frames and files are.
    documents : dict of str to list
        By kind, `OF_RUNS` without ``rehearsal``.
    folder : Path
        There: ``frames`` and ``potential``, with names behind them where there are several;
        ``training_sweep.json``, ``committee.json``, ``active_learning.json``,
        ``region_evaluation.json``; ``expansion.json`` with its figure. Of active learning only the
        potentials of its last round are written.

    Returns
    -------
    dict of str to int
        What was written, by the word for one.

    Raises
    ------
    DismaiError
        If something is missing from the store, or cannot be written.
    """
    from dismaiflow.store.frames import export_frames

    frames = documents.get("frames", [])
    for place, document in _places("frames", [one.system for one in frames], frames):
        export_frames(jobstore, document, folder / place)
    trained = _kept_potentials(documents)
    if trained:
        from dismaiflow.potentials.training_jobs import export_trained

        names = [one.potential.name.removeprefix("matgl:") for one in trained]
        for place, document in _places("potential", names, trained):
            export_trained(jobstore, document, folder / place)
    for kind in ("training_sweep", "committee", "active_learning", "region_evaluation"):
        for place, document in _places(kind, [one.system for one in documents.get(kind, [])],
                                       documents.get(kind, [])):  # fmt: skip
            text = document.model_dump_json(indent=1)
            (folder / f"{place}.json").write_text(text, encoding="utf-8")
    fits = documents.get("fitted_expansion", [])
    for place, document in _places("expansion", [one.system for one in fits], fits):
        from dismaiflow.alloy.fit_figures import draw_fit

        text = json.dumps(document.expansion, indent=1) + "\n"
        (folder / f"{place}.json").write_text(text, encoding="utf-8")
        draw_fit(document, folder / f"{place}.png")
    counts = {"training set": len(frames), "potential": len(trained), "expansion": len(fits)}
    return counts | _write_models(jobstore, documents, folder)


def _write_models(jobstore: JobStore, documents: Documents, folder: Path) -> dict[str, int]:
    """Write studies, and trained models that are no controls."""
    studies = documents.get("study", [])
    for place, document in _places("study", [one.system for one in studies], studies):
        from dismaiflow.report.study_folder import write_study

        write_study(jobstore, document, folder if len(studies) == 1 else folder / place)
    models = [one for one in documents.get("trained_model", []) if not one.card.get("is_control")]
    for place, document in _places("model", [one.model for one in models], models):
        from dismaiflow.models.folder import export_model

        export_model(jobstore, document, folder / place)
    return {"study": len(studies), "model": len(models)}


def _kept_potentials(documents: Documents) -> list[Any]:
    """Return the potentials of a run; of active learning those that it has come to."""
    trained = documents.get("trained_potential", [])
    learned = documents.get("active_learning", [])
    if not learned:
        return trained
    last = {member.card.hash for one in learned for member in one.committee.members}
    return [one for one in trained if one.potential.card.hash in last]


def _places(word: str, names: Sequence[str], documents: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Yield where each document goes: a word alone if there is one, else with name and number."""
    for number, (name, document) in enumerate(zip(names, documents, strict=True), 1):
        safe = "".join(c if c.isalnum() or c in ".-" else "-" for c in name)[:80]
        yield (word if len(documents) == 1 else f"{word}-{number}-{safe}"), document
