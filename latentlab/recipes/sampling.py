"""How a recipe gets its samples: kept from an earlier run, or drawn at a sufficient precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.components.checks import check_room
from latentlab.encoding.encoder import encode, read_for
from latentlab.encoding.scale import Scales, describe_scale
from latentlab.encoding.sizes import describe_shrinking
from latentlab.errors import UsageError
from latentlab.images.fit import AUTO
from latentlab.images.pillow import OVER_WHITE
from latentlab.latents import Latent
from latentlab.machine.files import check_folder
from latentlab.neighborhoods import DEFAULT_NEIGHBORHOOD, SAMPLERS
from latentlab.neighborhoods.base import DEFAULT_SAMPLES
from latentlab.neighborhoods.precision import Precision, choose_precision
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.results.folders import RUNS_FOLDER
from latentlab.results.kept_samples import find_kept, samples_key

if TYPE_CHECKING:
    from latentlab.images.arrays import ValueRange
    from latentlab.images.fit import Size
    from latentlab.latents import Neighborhood, Progress
    from latentlab.loaders.base import LatentVAE

Say = Callable[[str], None]
"""What a recipe calls with a message for the user."""


def be_silent(message: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class SamplingPlan:
    """How to draw samples around an image's latent.

    Parameters
    ----------
    neighborhood : str, a registered sampler
    n_samples : int, optional; 256, or every token or patch
    region : (x, y, width, height) in pixels, optional
    options : of the sampler, such as ``{"rotation": 20}``
    seed : int
    dtype : ``"auto"`` encodes in bfloat16 if its rounding is negligible; anything else in the
        VAE's own precision
    """

    neighborhood: str = DEFAULT_NEIGHBORHOOD
    n_samples: int | None = None
    region: tuple[int, int, int, int] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    dtype: str = "auto"

    def options_for(self, image: Any) -> dict[str, Any]:
        """Return the sampler's options, including those that follow from the image's path."""
        path = str(image) if isinstance(image, str | Path) else None
        settled = {} if path is None else SAMPLERS[self.neighborhood].options_for(path)
        return {**settled, **self.options}


def check_plan(plan: SamplingPlan, image: Any, folder: Path | None) -> None:
    """Raise the errors that can be found before a model is loaded.

    Raises
    ------
    UsageError : an option that is invalid for every image.
    FileError : the folder for the results cannot be written.
    """
    if plan.n_samples is not None and plan.n_samples < 2:
        raise UsageError(f"--samples {plan.n_samples}", "at least 2 samples", "raise --samples")
    SAMPLERS.make(plan.neighborhood, plan.options_for(image))
    check_folder(folder or RUNS_FOLDER)


_CHOSEN = (OVER_WHITE, "first of ", "frame ")
"""What is done to an image although another choice was possible, as ``preprocessing`` begins it."""


def describe_choices(latent: Latent) -> str:
    """Return a line that says which frame was taken and what is behind transparency; "" if none."""
    done = latent.image.preprocessing.split("; ") if latent.image else []
    told = [note for note in done if note.startswith(_CHOSEN)]
    told = ["first frame of the video" if note == "frame 0" else note for note in told]
    return f"{latent.name}: {', '.join(told)}" if told else ""


def encode_fitting(
    vae: LatentVAE,
    image: Any,
    size: Size | None = AUTO,
    say: Say = be_silent,
    value_range: ValueRange | None = None,
    scales: Scales | None = None,
) -> Latent:
    """Return the latent of an image, and say if it was shrunk because nobody asked for a size.

    The scale of the latent is said too, or left to ``scales``, which says that of several images.
    A Latent is returned as it is.
    """
    if isinstance(image, Latent):
        return image
    loaded = read_for(vae, image, size, value_range)
    if shrunk := describe_shrinking(loaded, size):
        say(shrunk)
    latent = encode(vae, loaded)
    if done := describe_choices(latent):
        say(done)
    deviation = float(latent.values.std())
    if scales is None:
        say(describe_scale(deviation, latent.name, normalization=vae.origin.normalization))
    else:
        scales.add(latent.name, deviation, normalization=vae.origin.normalization)
    return latent


def draw_samples(
    vae: LatentVAE,
    latent: Latent,
    image: Any,
    plan: SamplingPlan,
    *,
    say: Say = be_silent,
    progress: Progress | None = None,
) -> tuple[Neighborhood, dict[str, Any], str | None]:
    """Return the neighborhood, kept from an earlier run or drawn at a sufficient precision.

    With it come its precision, for ``run.json``, and the key under which to keep the samples,
    None if they are kept already or cheap to draw.
    """
    options = plan.options_for(image)
    settings = {"region": plan.region, "seed": plan.seed, "options": options}
    key = samples_key(vae, latent, plan.neighborhood, plan.n_samples, plan.dtype, settings)
    kept = find_kept(RUNS_FOLDER, key, latent)
    if kept is not None:
        say("using the samples of an earlier run; nothing is encoded again")
        return *kept, None
    precision = Precision(vae, None, "asked for")
    if plan.dtype == "auto":
        precision = choose_precision(
            vae, latent, plan.neighborhood, region=plan.region, seed=plan.seed, **options
        )
    if precision.floor is not None and precision.vae is vae:
        say(f"encoding in float32: {precision.reason}")
    hood = draw_neighborhood(precision.vae, latent, image, plan, progress=progress)
    return hood, {"asked": plan.dtype, **precision.facts()}, key


def draw_neighborhood(
    vae: LatentVAE,
    latent: Latent,
    image: Any,
    plan: SamplingPlan,
    *,
    progress: Progress | None = None,
) -> Neighborhood:
    """Return the neighborhood of a latent as planned, with this VAE."""
    check_room(min(plan.n_samples or DEFAULT_SAMPLES, latent.values.numel()))
    return neighborhood(
        vae,
        latent,
        plan.neighborhood,
        n_samples=plan.n_samples,
        seed=plan.seed,
        region=plan.region,
        progress=progress,
        **plan.options_for(image),
    )
