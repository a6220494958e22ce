"""How often `latentlab doctor` finds a defect that is not there, and one that was planted."""

from __future__ import annotations

from functools import cache, partial

from claims import POWER, SIZE, Cell, Claim, Outcome
from defects import DEFECTS, Remembering
from photos import PHOTOS, crops, measured_photos
from torch import Tensor

from latentlab.loaders import load_vae
from latentlab.loaders.base import LatentVAE
from latentlab.recipes.diagnosing import diagnose

TAEF2 = PHOTOS.parents[1] / "models" / "taef2"
MODELS = {"linear": "linear", "mini": "mini", "TAEF2": str(TAEF2)}
POOLS = {"linear": 500, "mini": 60, "TAEF2": 60}
"""Photos that samples are drawn from: fewer where each takes long, since they are remembered."""
BEHAVIOR = ("float16", "repeats", "batch", "channels")
LATENTS = ("droplets", "black holes", "dead channels", "unit variance")


@cache
def _plain(model: str) -> LatentVAE:
    return load_vae(MODELS[model], dtype="float32", device="cpu")


@cache
def _remembering(model: str) -> LatentVAE:
    return Remembering(_plain(model))


def _false_alarms(vae: LatentVAE, images: Tensor) -> Outcome:
    found = diagnose(vae, images)
    examined = [one for one in found.findings if one.found is not None]
    return {"any finding": bool(found.found)} | {one.name: bool(one.found) for one in examined}


def _healthy(model: str, count: int, seed: int) -> Outcome:
    """Diagnose a healthy model on photos by which no threshold was chosen."""
    # What is remembered cannot change from call to call: only linear says something of that.
    vae = _plain(model) if model == "linear" else _remembering(model)
    outcome = _false_alarms(vae, measured_photos(count, seed, POOLS[model]))
    if count == 8:
        return {
            name: value
            for name, value in outcome.items()
            if model == "linear" or name not in BEHAVIOR
        }
    return {"any finding": outcome["any finding"]}


def _unremembered(model: str, seed: int) -> Outcome:
    """Diagnose a healthy model on one photo, each call computed."""
    outcome = _false_alarms(_plain(model), measured_photos(1, seed, POOLS[model]))
    return {name: outcome[name] for name in BEHAVIOR}


def _healthy_on_crops(seed: int) -> Outcome:
    return {"any finding": bool(diagnose(_plain("linear"), crops(8, seed)).found)}


def _healthy_at_256(seed: int) -> Outcome:
    photos = measured_photos(8, seed, POOLS["linear"], side=256)
    return {"any finding": bool(diagnose(_plain("linear"), photos).found)}


def _planted(model: str, seed: int) -> Outcome:
    """Plant one defect after the other, and diagnose each."""
    photos = measured_photos(8, seed, POOLS[model])
    outcome = {}
    for name, defect in DEFECTS.items():
        shown = photos[:2] if defect.finding in (*BEHAVIOR, *LATENTS) else photos
        inner = _remembering(model)
        if defect.finding == "float16":
            inner, shown = _plain(model), photos[:1, :, :64, :64]
        found = diagnose(defect.plant(inner, seed), shown)
        outcome[name] = all(bool(found[finding].found) for finding in defect.findings)
    return outcome


_RUNS = {"linear": 100, "mini": 60, "TAEF2": 60}
_PLANTED_RUNS = {"linear": 40, "mini": 20, "TAEF2": 12}
_COMPUTED_RUNS = {"mini": 10, "TAEF2": 4}

CLAIM = Claim(
    name="doctor",
    says="`latentlab doctor`: a finding, or none",
    assumes="photos, at 128 pixels if nothing else is said; thresholds were chosen on half of "
    "1,000 photos and measured on the other half",
    breaks="drawings and screenshots, whose flat areas and sharp lines are not those of photos; "
    "defects that images do not share",
    cells=(
        Cell("linear, 8 crops of the two sample images", SIZE, _healthy_on_crops, runs=100),
        Cell("linear, 8 photos at 256 pixels", SIZE, _healthy_at_256, runs=40, quick=False),
        *(
            Cell(
                f"{model}, {count} photo{'s' if count > 1 else ''}",
                SIZE,
                partial(_healthy, model, count),
                runs=_RUNS[model],
                quick=False,
            )
            for model in MODELS
            for count in (8, 2, 1)
        ),
        *(
            Cell(
                f"{model}, 1 photo, nothing remembered",
                SIZE,
                partial(_unremembered, model),
                runs=runs,
                quick=False,
            )
            for model, runs in _COMPUTED_RUNS.items()
        ),
        *(
            Cell(
                f"{model} with one defect, 2 or 8 photos",
                POWER,
                partial(_planted, model),
                runs=_PLANTED_RUNS[model],
                within=(0.95, 1),
                quick=False,
            )
            for model in MODELS
        ),
    ),
)
