"""``dismai models``: list, show, check."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dismaiflow.cli.console import err, out, print_json
from dismaiflow.errors import DismaiError, one_line

app = typer.Typer(help="The generative models that are known.", no_args_is_help=True)

#: Seconds that a model may train when it is checked.
_CHECK_SECONDS = 20.0

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A registered name, module:Class, FILE.py:Class or a YAML file."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the registered models."""
    from rich.table import Table

    from dismaiflow.models.registry import get_model, list_models

    cards = {}
    for name in list_models():
        try:
            cards[name] = get_model(name).card()
        except DismaiError as error:
            # Somebody else's model must not take the list down.
            err.print(str(error), style="yellow", markup=False, soft_wrap=True)
    if json:
        print_json({name: asdict(card) for name, card in cards.items()})
        return
    table = Table(box=None, header_style="bold")
    for column in ("name", "", "description"):
        table.add_column(column)
    for name, card in cards.items():
        table.add_row(name, "control" if card.is_control else "", card.description)
    out.print(table)


@app.command()
def show(name: NameArgument) -> None:
    """Show the card of a model (a name, or module:Class)."""
    from dismaiflow.models.registry import get_model

    print_json(asdict(get_model(name).card()))


@app.command()
def check(name: NameArgument) -> None:
    """Check that a model can be made, fitted and sampled, on two tiny structures."""
    import tempfile

    import numpy as np

    from dismaiflow.models.base import Budget, ModelData
    from dismaiflow.models.checks import sample_checked, validate_generated
    from dismaiflow.models.registry import get_model
    from dismaiflow.structures.checks import Expectation
    from dismaiflow.structures.structure_set import StructureSet

    model = get_model(name)
    positions = np.array([[[0.0, 0, 0], [1.8, 1.8, 0]], [[0.0, 0, 0], [1.8, 0, 1.8]]])
    train = StructureSet.uniform([[26, 28], [28, 26]], positions, 3.6 * np.eye(3))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            with Budget(_CHECK_SECONDS).listening() as budget:
                result = model.fit(ModelData(train), folder, seed=0, budget=budget)
        except DismaiError:
            raise
        except Exception as error:  # whatever somebody else's model raises
            raise DismaiError(f"{name}: fit failed ({one_line(error)})") from error
        if result is not None and not result.finished:
            said = f"{name}: trained for {result.step} steps, and can go on later"
            out.print(said, markup=False, emoji=False)
            return
        sampled = sample_checked(model, folder, 3, seed=1)
    found = validate_generated(sampled, 3, Expectation.of_reference(train, "two tiny structures"))
    if found.reasons:
        reason, detail = next(iter(found.first.items()))
        raise DismaiError(f"{name}: {3 - found.n_sound} of 3 structures fail: {reason} ({detail})")
    out.print(f"{name}: fitted, and sampled 3 structures", markup=False, emoji=False)
