"""Tables that are made from the code when the documentation is built."""

from __future__ import annotations

import importlib
import types
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docutils import nodes
    from sphinx.application import Sphinx


class ModelKeys(SphinxDirective):
    """A table of the fields of a pydantic model: ``{model-keys} package.module:Class``.

    Lines ``key: meaning`` in the body stand in for descriptions that the model does not have.
    """

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        module, _, name = self.arguments[0].partition(":")
        model = getattr(importlib.import_module(module), name)
        prefix = model.model_config.get("env_prefix", "")
        said = dict(line.split(": ", 1) for line in self.content if line.strip())
        unknown = set(said) - set(model.model_fields)
        if unknown:
            raise self.error(f"{name} has no key {', '.join(sorted(unknown))}")
        rows = [
            (
                f"`{prefix}{key}`",
                _type_name(field.annotation),
                _default(field),
                said.get(key) or field.description or "",
            )
            for key, field in model.model_fields.items()
        ]
        return self.parse_text_to_nodes(_table(("key", "type", "default", "meaning"), rows))


class CliOptions(SphinxDirective):
    """All commands of the program with their arguments and options."""

    def run(self) -> list[nodes.Node]:
        """Return a section's worth of headings and tables."""
        from typer.main import get_command

        from dismaiflow.cli.main import app

        parts = []
        for path, command in _commands(get_command(app), ("dismai",)):
            shown = [_usage(p) for p in command.params if not _is_help(p)]
            words = " ".join([*path, *filter(None, shown)])
            parts += [f"**`{words}`**", command.help or ""]
            rows = [
                (_names(p), getattr(p, "help", None) or "", _shown(p.default))
                for p in command.params
                if not _is_help(p)
            ]
            if rows:
                parts.append(_table(("word", "meaning", "default"), rows))
        return self.parse_text_to_nodes("\n\n".join(parts))


class DftSettings(SphinxDirective):
    """The settings of the VASP calculations of a system: ``{dft-settings} SYSTEM``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a table for each calculation, after what all share."""
        from dismaiflow.dft.settings_table import setting_groups
        from dismaiflow.systems import get_system

        parts = []
        for title, settings in setting_groups(get_system(self.arguments[0])):
            rows = [(s.file, f"`{s.key}`", f"`{s.text}`", s.source) for s in settings]
            parts += [f"**{title}**", _table(("file", "key", "value", "source"), rows)]
        return self.parse_text_to_nodes("\n\n".join(parts))


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    clean = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in clean)


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, member in command.commands.items():
        yield from _commands(member, (*path, name))


def _is_option(parameter: Any) -> bool:
    return parameter.param_type_name == "option"


def _is_help(parameter: Any) -> bool:
    return "--help" in parameter.opts


def _usage(parameter: Any) -> str:
    if not _is_option(parameter):
        word = (parameter.metavar or parameter.name.upper()).rstrip(".")
        return f"{word}..." if parameter.nargs == -1 else word
    return f"{parameter.opts[0]} …" if parameter.required else ""


def _names(parameter: Any) -> str:
    if not _is_option(parameter):
        return f"`{_usage(parameter)}`"
    return ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))


def _shown(default: Any) -> str:
    if default is None or default is False or type(default).__name__ == "Sentinel":
        return ""
    return "on" if default is True else f"`{default}`"


def _type_name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join("null" if a is types.NoneType else _type_name(a) for a in arguments)
    if origin in (dict, list, tuple):
        inner = ", ".join("…" if a is ... else _type_name(a) for a in arguments)
        return f"{origin.__name__}[{inner}]"
    return getattr(annotation, "__name__", str(annotation))


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        name = getattr(field.default_factory, "__name__", "")
        return {"dict": "{}", "list": "[]"}.get(name, "when made")
    return "null" if field.default is None else f"`{field.default}`"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("model-keys", ModelKeys)
    app.add_directive("cli-options", CliOptions)
    app.add_directive("dft-settings", DftSettings)
    return {"parallel_read_safe": True}
