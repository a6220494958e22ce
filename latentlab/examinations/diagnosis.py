"""All findings on one model: :class:`Diagnosis`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from latentlab.examinations.findings import Finding
from latentlab.figures.tables import Strong, frame_of, html_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Evidence:
    """Images, latents and reconstructions, those that are finite, in the same order.

    Parameters
    ----------
    names : str, of the images
    images, decoded : Tensor, (3, H, W) each, in [−1, 1]
    latents : Tensor, (C, h, w) each, model space
    stride : int, pixels of a cell
    hashes : SHA-256 of the pixels of each image, as the model got them
    """

    names: Sequence[str] = ()
    images: Sequence[Tensor] = ()
    latents: Sequence[Tensor] = ()
    decoded: Sequence[Tensor] = ()
    stride: int = 1
    hashes: Sequence[str] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What is wrong with a model, and what is not.

    Parameters
    ----------
    model : str
    findings : Finding of every examination, in a fixed order
    n_images : int, images that were examined
    notes : what was left out or assumed, one sentence each
    evidence : Evidence, for the figure
    """

    model: str
    findings: tuple[Finding, ...]
    n_images: int
    notes: tuple[str, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)

    def __getitem__(self, name: str) -> Finding:
        """Return the finding of an examination by its name; KeyError where there is none."""
        named = {finding.name: finding for finding in self.findings}
        return named[name]

    @property
    def found(self) -> tuple[Finding, ...]:
        """Return the findings that count."""
        return tuple(one for one in self.findings if one.found)

    @property
    def healthy(self) -> tuple[Finding, ...]:
        """Return the findings that do not count."""
        return tuple(one for one in self.findings if one.found is False)

    @property
    def unexamined(self) -> tuple[Finding, ...]:
        """Return the findings that could not be examined."""
        return tuple(one for one in self.findings if one.found is None)

    @property
    def title(self) -> str:
        """Return model, images and number of findings, in a line."""
        count, images = len(self.found), self.n_images
        what = "no finding" if not count else f"{count} finding{'s' if count > 1 else ''}"
        return f"{self.model} · {images:,} image{'s' if images != 1 else ''} · {what}"

    def facts(self) -> Mapping[str, Any]:
        """Return the diagnosis, JSON-ready."""
        return {
            "title": self.title,
            "model": self.model,
            "n_images": self.n_images,
            "notes": list(self.notes),
            "findings": [self._facts_of(finding) for finding in self.findings],
        }

    def _facts_of(self, finding: Finding) -> dict[str, Any]:
        facts = finding.facts()
        if finding.place is not None:
            facts["place"]["image"] = self.evidence.names[finding.place.image]
        return facts

    def plot(self) -> Figure | None:
        """Return a figure with a row for each finding that has a place; None without any."""
        from latentlab.examinations.latents import norms_of
        from latentlab.figures.diagnosis import Row, draw_diagnosis

        shown, seen = [one for one in self.found if one.place is not None], self.evidence
        if not shown:
            return None
        norms = norms_of(seen.latents)
        rows = [
            Row(
                f"{one.name}: {one.value:.3g} {one.unit}",
                seen.images[one.place.image],
                seen.decoded[one.place.image],
                norms[one.place.image] if one.place.in_latent else None,
                one.place.box,
            )
            for one in shown
            if one.place is not None
        ]
        return draw_diagnosis(rows, title=self.title)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each examination.

        ``name``, ``found`` (None where it could not be examined), ``value``, ``threshold``,
        ``unit``, ``says``, ``reason``, ``advice`` and ``problem``.
        """
        rows = [finding.facts() for finding in self.findings]
        return frame_of([{k: v for k, v in row.items() if k != "place"} for row in rows])

    def _repr_html_(self) -> str:
        rows = [
            (
                Strong(one.name) if one.found else one.name,
                {None: "not examined", True: Strong("found"), False: "healthy"}[one.found],
                one.value,
                one.threshold,
                one.unit,
                _sentences(one.says, one.advice) if one.found else one.problem,
            )
            for one in (*self.found, *self.unexamined, *self.healthy)
        ]
        heads = ("examination", "result", "value", "threshold", "unit", "what it means")
        return html_table(heads, rows, title=self.title, notes=self.notes)

    def __str__(self) -> str:
        lines = [self.title, *(f"{one.name}: {one.says}. {one.advice}." for one in self.found)]
        lines += [f"healthy: {', '.join(one.name for one in self.healthy)}"]
        lines += [f"not examined: {one.name} ({one.problem})" for one in self.unexamined]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Diagnosis({self.title}{''.join(f', {one.name}' for one in self.found)})"


def _sentences(*words: str) -> str:
    return " ".join(f"{said[:1].upper()}{said[1:]}." for said in words if said)
