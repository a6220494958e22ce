"""The Python that makes what a page shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from latentlab.directions import FINDERS
from latentlab.explorer.choices import has_sides, options_of

if TYPE_CHECKING:
    from latentlab.explorer.fits import Fitted
    from latentlab.explorer.scenes import Scene
    from latentlab.explorer.state import State
    from latentlab.explorer.subjects import Subject


def python_code(scene: Scene, state: State, others: tuple[Subject, ...] = ()) -> str:
    """Return a script that decodes the state of a page, in its first model.

    An image that was dropped onto the page has no path here, nor has an array: a name stands for
    it, and the script says so.

    Parameters
    ----------
    scene : Scene
    state : State; its blend has no effect without another image
    others : the image to blend with, in each model
    """
    subject = scene.subjects[0]
    image = subject.latent.image
    assert image is not None
    height, width = image.pixels.shape[-2:]
    source = _source(subject)
    lines = ["import latentlab"]
    if state.strokes:
        lines.append("from latentlab.explorer.state import State, Stroke, latent_of")
    lines.append("")
    if not image.path:
        lines.append(f"# {source} stands for an image without a path: dropped, or given as values.")
    size = height if height == width else (height, width)
    lines += [
        f"vae = latentlab.load_vae({subject.vae.origin.source or subject.vae.spec.name!r})",
        f"z = latentlab.encode(vae, {source!r}, size={size})",
    ]
    lines += _start(state, others)
    if scene.fits and (any(state.alphas) or state.strokes):
        lines += [
            *_search(scene.fits[0], others),
            *_move(state, len(scene.fits[0].directions.labels)),
        ]
    lines.append("image = latentlab.decode(vae, latent)  # (3, H, W) in [-1, 1]")
    return "\n".join(lines) + "\n"


def _source(subject: Subject) -> str:
    image = subject.latent.image
    return image.path if image and image.path else f"{subject.latent.name}.png"


def _start(state: State, others: tuple[Subject, ...]) -> list[str]:
    if not state.blend or not others:
        return ["latent = z.values"]
    source = _source(others[0])
    return [
        f"# {source} stands for the image that is blended with.",
        f"other = latentlab.encode(vae, {source!r}, size=tuple(z.image.pixels.shape[-2:]))",
        f"latent = z.values.lerp(other.values, {state.blend})",
    ]


def _search(fit: Fitted, others: tuple[Subject, ...]) -> list[str]:
    plan, sampling = fit.plan, fit.sampling
    finder = options_of(FINDERS[plan.finder], plan.settings, plan.files)
    if plan.finder == "difference" and not has_sides(plan.files):
        finder["other"] = _source(others[0]) if others else "other.png"
    region = f", region={plan.region}" if plan.region else ""
    drawn = f"n_samples={sampling.n_samples}, seed={plan.seed}{region}"
    drawn += _written(plan.sampler_options())
    return [
        f"hood = latentlab.neighborhood(vae, z, {plan.neighborhood!r}, {drawn})",
        "found = latentlab.find_directions("
        f"vae, z, hood, finder={plan.finder!r}, seed={plan.seed}{_written(finder)})",
    ]


def _written(options: Mapping[str, Any]) -> str:
    return "".join(f", {name}={_plain(value)!r}" for name, value in options.items())


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _move(state: State, count: int) -> list[str]:
    moved = {k: alpha for k, alpha in enumerate(state.alphas[:count]) if alpha}
    lines = [
        f"latent = latent + {alpha} * float(found.step_lengths[{k}]) * found.vectors[{k}]"
        for k, alpha in moved.items()
    ]
    if state.strokes:
        listed = ",\n    ".join(repr(stroke) for stroke in state.strokes)
        lines += [
            f"strokes = (\n    {listed},\n)",
            "latent = latent_of(State(strokes=strokes), latent, found)",
        ]
    return lines
