"""The colors of a model's latents, saved with previews of the sample images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch.nn.functional as nnf
from torch import Tensor

from latentlab.encoding.encoder import describe_model, encode
from latentlab.encoding.palette import find_palette, r2_of
from latentlab.figures.sheets import compose_sheet, square_tile
from latentlab.images.arrays import to_uint8
from latentlab.images.examples import PREFIX, SAMPLES
from latentlab.images.reading import save_png
from latentlab.loaders.base import LatentVAE
from latentlab.machine.files import check_folder
from latentlab.results.arrays import write_result
from latentlab.results.folders import RUNS_FOLDER, Saved, create_run, write_json

_SIDE = 256
_TILE = 256


def analyze_palette(
    vae: LatentVAE,
    *,
    levels: int = 6,
    seed: int = 0,
    folder: str | Path | None = None,
    command_line: list[str] | None = None,
) -> Saved:
    """Find the color subspace of a model and save it: ``latentlab palette``.

    ``rgb_factors.json`` has the matrix in the form that previewers use, ``palette.png`` shows the
    sample images beside what the matrix makes of their latents.

    Parameters and errors as for :func:`latentlab.encoding.palette.find_palette`.
    """
    check_folder(Path(folder) if folder else RUNS_FOLDER)
    palette = find_palette(vae, levels, seed=seed)
    out = Path(folder) if folder else create_run("palette", vae.spec.name)
    photos, rows = {}, []
    side = vae.only_side or max(_SIDE, vae.spec.multiple) // vae.spec.multiple * vae.spec.multiple
    for name in SAMPLES:
        latent = encode(vae, f"{PREFIX}{name}", size=side)
        assert latent.image is not None
        _, height, width = latent.values.shape
        small = nnf.adaptive_avg_pool2d(latent.image.pixels[None], (height, width))
        preview = palette.preview(latent.values[None])
        photos[name] = {
            "subspace_share": palette.share_of(latent.values),
            "r2": r2_of(_pixels(small.double()), _pixels(preview)),
        }
        rows.append([_tile(small[0]), _tile(preview[0].float())])
    title = f"{vae.spec.name}: latents as RGB by an affine map of flat colors"
    sheet = compose_sheet(
        rows, row_labels=[*SAMPLES], column_labels=["image", "preview"], title=title
    )
    factors = {
        "latent_rgb_factors": palette.rgb_factors.tolist(),
        "latent_rgb_factors_bias": palette.rgb_bias.tolist(),
    }
    files = [save_png(out / "palette.png", sheet), write_json(out / "rgb_factors.json", factors)]
    facts: dict[str, Any] = {"title": title, "model": vae.spec.name, "space": "model"}
    run = {"command_line": command_line, "model": describe_model(vae), "seed": seed}
    return write_result(
        out,
        "palette",
        files=files,
        arrays={},
        facts={**facts, **palette.facts(), "photos": photos},
        run={**run, "levels": levels},
    )


def _pixels(images: Tensor) -> Tensor:
    return images[0].flatten(1).T


def _tile(image: Tensor) -> Any:
    factor = max(1, _TILE // max(image.shape[-2:]))
    large = image.clamp(-1, 1).repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    return square_tile(to_uint8(large).numpy(), _TILE)
