"""What ``dismai study`` compares, by the options that were given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.campaigns.study_schemas import Variant
    from dismaiflow.systems import SystemSpec


@dataclass(frozen=True)
class Compared:
    """Options that say what is compared.

    Parameters
    ----------
    size : str
        Preset of the models of the paper.
    settings : sequence of str
        ``KEY=VALUE``, or ``MODEL.KEY=VALUE`` among several models.
    scan, progress : str, optional
        As given.
    named : sequence of str
        ``LABEL:KEY=VALUE,...``.
    equal_time : float, optional
        Seconds of training of each variant.
    """

    size: str
    settings: Sequence[str] = ()
    scan: str | None = None
    named: Sequence[str] = ()
    progress: str | None = None
    equal_time: float | None = None

    def variants(self, model: str, spec: SystemSpec, own_alignments: bool) -> list[Variant]:
        """Return what is compared.

        Parameters
        ----------
        model : str
            A model, several with commas between, or ``all``.
        spec : SystemSpec
            The system.
        own_alignments : bool
            Whether each model is aligned as its published script does.

        Raises
        ------
        DismaiError
            If a model or an option is unknown, or options exclude each other.
        """
        from dismaiflow.campaigns.study_variants import equal_time_variants, model_variants

        compares = (self.scan is not None, bool(self.named), self.progress is not None)
        if sum(compares) > 1:
            raise DismaiError("give one of --scan, --variant and --progress")
        found = model_variants(model, spec, self.size, self.settings, own_alignments)
        if any(compares):
            if len(found) > 1:
                raise DismaiError(
                    "--scan, --variant and --progress compare variants of one model: name one"
                )
            (plain,) = found
            found = [
                one.model_copy(update={"alignment": plain.alignment, "name": _name(plain, one)})
                for one in self._changed(plain)
            ]
        if self.equal_time is None:
            return found
        if self.progress is not None:
            raise DismaiError("--equal-time and --progress both say how long: give one of them")
        return equal_time_variants(found, self.equal_time)

    def _changed(self, plain: Variant) -> list[Variant]:
        """Return the variants of one model."""
        from dismaiflow.campaigns import study_variants as make
        from dismaiflow.models.choosing import parse_value

        choice = plain.choice
        if self.scan is not None:
            key, sign, values = self.scan.partition("=")
            if not sign or not values:
                raise DismaiError(f"--scan {self.scan}: give KEY=VALUE,VALUE")
            words = [parse_value(word, f"--scan {self.scan}") for word in values.split(",")]
            return make.scan_variants(choice, key.strip(), words)
        if self.progress is not None:
            return make.progress_variants(choice, _epochs(self.progress))
        parsed = [_label_and_settings(text) for text in self.named]
        return [plain, *(make.named_variant(choice, label, new) for label, new in parsed)]


def check_models_here(variants: Sequence[Variant]) -> None:
    """Refuse models that cannot be trained on this machine, before anything is made.

    Raises
    ------
    DismaiError
        If one lacks a library or a device.
    """
    from dismaiflow.models.registry import open_model

    for variant in variants:
        check = getattr(open_model(variant.choice), "check_here", None)
        if check is not None:
            check()


def _name(plain: Variant, one: Variant) -> str:
    """Name a variant after its model, whose size and settings are part of that."""
    return one.label if one.label == plain.label else f"{plain.label} {one.label}"


def _label_and_settings(text: str) -> tuple[str, dict[str, Any]]:
    from dismaiflow.models.choosing import parse_settings

    label, sign, rest = text.partition(":")
    if not sign or not label or not rest:
        raise DismaiError(f"--variant {text}: give LABEL:KEY=VALUE,KEY=VALUE")
    return label, parse_settings(rest.split(","))


def _epochs(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise DismaiError(f"--progress {text}: give epochs, such as 100,200") from None
