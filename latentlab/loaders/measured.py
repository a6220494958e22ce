"""A measured normalization in a JSON file, which ``normalization="FILE.json"`` applies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from latentlab.errors import UsageError
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.normalization import Affine
from latentlab.machine.parsing import WRONG_FACTS, parse_json

SUFFIX = ".json"
_ADVICE = "measure it with: latentlab models --measure MODEL --images FOLDER"


def read_measured(path: Path, sha256: Mapping[str, str]) -> tuple[Affine, str]:
    """Return (z − mean)/std of a file, and the reason for ``run.json``.

    Parameters
    ----------
    path : Path, as ``latentlab models --measure`` writes it
    sha256 : file name → SHA-256 of the weights that it is applied to

    Raises
    ------
    UsageError : there is no such file, it has no statistics, or they belong to other weights.
    """
    try:
        facts = parse_json(path.read_bytes())
        means, deviations = (
            tuple(float(value) for value in facts[f"latents_{part}"]) for part in ("mean", "std")
        )
        affine = Affine(means, tuple(1 / value for value in deviations))
        count, weights = int(facts["n_images"]), set(facts["sha256"].values())
    except (OSError, *WRONG_FACTS) as error:
        raise UsageError(
            f"normalization={path}, which cannot be read ({type(error).__name__})",
            "a file with latents_mean and latents_std above 0",
            _ADVICE,
        ) from error
    if weights != set(sha256.values()):
        raise UsageError(f"normalization={path} of other weights", "those of this model", _ADVICE)
    return affine, f"measured over {count:,} images, {path.name}"


def check_raw(vae: LatentVAE) -> None:
    """Raise UsageError if a VAE's latents are not its module's own."""
    if getattr(vae, "normalization", None) != Affine():
        raise UsageError(
            f"{vae.spec.name} with {vae.origin.normalization}",
            "the model's own latents",
            'load it with normalization="none"',
        )
