"""Entry point of the ``dismai`` command."""

from __future__ import annotations

import sys

import typer

from dismaiflow import __version__
from dismaiflow.cli import dataset, models, quickstart, report, score, systems
from dismaiflow.cli.console import fail
from dismaiflow.errors import DismaiError

app = typer.Typer(
    name="dismai",
    help="Dismai-Bench: make datasets of disordered materials, score generative models on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("quickstart")(quickstart.quickstart)
app.command("dataset")(dataset.dataset)
app.command("score")(score.score)
app.command("report")(report.report)
app.add_typer(systems.app, name="systems")
app.add_typer(models.app, name="models")


@app.callback(invoke_without_command=True)
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command; every wrong input ends in one line and exit code 2."""
    try:
        app()
    except DismaiError as error:
        fail(str(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough; close quietly.
        sys.stderr.close()
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
