"""Every registered class keeps its contract, and every sentence of a check is earned by a class.

The classes below are sound but for one thing.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.parallel import Parallel
from latentlab.directions import FINDERS
from latentlab.directions.base import Finder, Found, numbered
from latentlab.errors import LatentlabError, UsageError
from latentlab.images.arrays import to_uint8
from latentlab.layouts import WholeLayout, Window
from latentlab.measures import MEASURES
from latentlab.measures.base import Finished, PerImage, Tally, TooFewError, Value
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.amounts import Amount
from latentlab.neighborhoods.base import Sampler
from latentlab.testing import (
    Report,
    check_finder,
    check_metric,
    check_neighborhood,
    check_null,
    noise,
    smooth_image,
    whole,
)
from latentlab.testing.metrics import _check_words

CALLS = itertools.count(1)
WORDS = "It shows what a test wants to see and it shows nothing about any image or model. " * 2


def save_smooth(path: Path, seed: int) -> Image.Image:
    image = Image.fromarray(to_uint8(smooth_image(seed=seed)).numpy())
    image.save(path)
    return image


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return what samplers and finders cannot do without."""
    folder = tmp_path_factory.mktemp("folder")
    images = [save_smooth(folder / f"{seed}.png", seed) for seed in range(5)]
    clip = folder.parent / "clip.gif"
    images[0].save(clip, save_all=True, append_images=images[1:])
    return {
        "knn": {"folder": str(folder)},
        "frames": {"video": str(clip)},
        "difference": {"other": str(folder / "4.png")},
    }


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_neighborhood_keeps_the_contract(name: str, options: dict[str, Any]) -> None:
    report = check_neighborhood(name, **options.get(name, {}))
    assert report.ok, str(report)
    assert bool(report.remarks) == (name in ("knn", "frames")), str(report)


@pytest.mark.parametrize("name", sorted(FINDERS))
def test_every_finder_keeps_the_contract(name: str, options: dict[str, Any]) -> None:
    report = check_finder(name, **options.get(name, {}))
    assert report.ok, str(report)
    assert name == "random" or not report.remarks, str(report)


@pytest.mark.parametrize("name", sorted(NULLS))
def test_every_null_keeps_the_contract(name: str) -> None:
    report = check_null(name)
    assert report.ok, str(report)
    assert not report.remarks, str(report)


_NETWORKS = {"lpips", "rfid", "fdd"}
"""Metrics that load networks of other packages."""
_NEED_MORE = {"dimension", "dists", "feature_distance", "interpolation", "ms_ssim", "precision"}
_NEED_MORE |= {"semantics"}
"""Metrics that six small images and a model without weights are not enough for."""


@pytest.mark.parametrize("name", sorted(_NETWORKS))
def test_metrics_of_networks_say_what_they_are(name: str) -> None:
    assert [*_check_words(MEASURES.make(name))] == []


@pytest.mark.parametrize("name", sorted({*MEASURES.names()} - _NETWORKS))
def test_every_metric_keeps_the_contract(name: str) -> None:
    report = check_metric(name)
    assert report.ok, str(report)
    assert bool(report.remarks) == (name in _NEED_MORE), str(report)


def expect(report: Report, words: str, *, remark: bool = False) -> None:
    said = report.remarks if remark else report.problems
    assert [line for line in said if words in line], str(report)
    assert report.ok == remark, str(report)


# Neighborhoods


@dataclass(frozen=True)
class Soft(Sampler):
    """The latent plus noise."""

    amounts = {"size": Amount("model-space units", 1)}  # noqa: RUF012
    encodes = False
    statement = WORDS

    def draw(self, vae, latent, samples, generator):
        for _ in range(samples):
            change = torch.randn(1, *latent.values.shape, generator=generator)
            yield latent.values + change, {"size": change.flatten(1).norm(dim=1)}


def drawing(change: Any) -> dict[str, Any]:
    """Return a draw whose latents and factors are changed."""

    def draw(self, vae, latent, samples, generator):
        for latents, factors in Soft.draw(self, vae, latent, samples, generator):
            yield change(latents, factors)

    return {"draw": draw}


class OddLayout(WholeLayout):
    @property
    def n_features(self):
        return 7


class Downward(WholeLayout):
    def lift(self, direction):
        return super().lift(direction)[0]


class Sideways(WholeLayout):
    def flatten(self, latents):
        raise ValueError("sideways")


def laid(kind: type[WholeLayout]) -> dict[str, Any]:
    return {"layout": lambda self, latent, window: kind(tuple(latent.values.shape), window)}


def rendering(images: Any) -> dict[str, Any]:
    return {
        "is_rendered": True,
        "ranges": lambda self: {"size": (0.0, 1.0)},
        "render": lambda self, latent, factors: images(latent),
    }


def overwrite(self, vae, latent, samples, generator):
    latent.values.add_(1)
    yield from Soft.draw(self, vae, latent, samples, generator)


def encode_again(self, vae, latent, samples, generator):
    vae.encode(latent.image.pixels[None])
    yield from Soft.draw(self, vae, latent, samples, generator)


def fail(*_: Any, **__: Any) -> Any:
    raise ValueError("out of order")


def draw_globally(self, vae, latent, samples, generator):
    yield from Soft.draw(self, vae, latent, samples, torch.Generator().manual_seed(next(CALLS)))


def full_window(self, latent, window):
    shape = tuple(latent.values.shape)
    return WholeLayout(shape, Window(0, 0, *shape[1:]))


def no_window(self, latent, window):
    if window.top:
        raise ValueError("no windows")
    return WholeLayout(tuple(latent.values.shape), window)


NEIGHBORHOODS = {
    "making it with its options raised TypeError: ": {"__init__": lambda self, radius: None},
    "its statement has 2 words: expected at least 25": {"statement": "Small changes."},
    "draw raised ValueError: out of order": {"draw": fail},
    "draw yields Tensor: expected pairs": drawing(lambda latents, factors: latents),
    "draw overwrites the latent": {"draw": overwrite},
    "draw encodes images, but it says encodes = False": {"draw": encode_again},
    "of shape (1, 6, 8): expected (b, 6, 8, 10)": drawing(lambda z, f: (z[..., 0], f)),
    "latents of torch.float64: expected torch.float32": drawing(lambda z, f: (z.double(), f)),
    "draw yields NaN or infinite numbers": drawing(lambda z, f: (z / 0, f)),
    "the factor 'size' of shape () for 1 latents": drawing(
        lambda z, f: (z, {"size": f["size"][0]})
    ),
    "other factors at one time": drawing(
        lambda z, f: (z, {"size": f["size"], f"{next(CALLS)}": f["size"]})
    ),
    "draw yields more than the 12 latents": drawing(
        lambda z, f: (torch.cat([z, z]), {"size": f["size"].repeat(2)})
    ),
    "its nulls name 'paralel': expected some of isotropic": {"nulls": ("paralel",)},
    "its amounts describe width, but draw yields only size": {
        "amounts": {"width": Amount("px", 1)}
    },
    "its amounts describe size, but draw yields none": drawing(lambda z, f: (z, {})),
    "is_rendered is True, but its ranges name no factor": {"is_rendered": True},
    "render raised ValueError: out of order": rendering(fail),
    "render returns images of shape (3, 32, 40): expected (1, 3, 32, 40)": rendering(
        lambda latent: latent.image.pixels
    ),
    "render returns images beyond [-1, 1]": rendering(lambda z: 2 + z.image.pixels[None]),
    "says n_features = 7: correct": laid(OddLayout),
    "lifts a row to shape (8, 10): expected (6, 8, 10)": laid(Downward),
    "layout raised ValueError: sideways": laid(Sideways),
    "sampling raised UsageError: Got 1 sample from": {
        "draw": lambda self, *given: itertools.islice(Soft.draw(self, *given), 1)
    },
    "two neighborhoods with the same seed differ": {"draw": draw_globally},
    "sampling in a region raised ValueError: no windows": {"layout": no_window},
    "a row of ones in a region is not lifted": {"layout": full_window},
}


@pytest.mark.parametrize("words", NEIGHBORHOODS)
def test_what_is_wrong_with_a_neighborhood_is_said(words: str) -> None:
    expect(check_neighborhood(type("Faulty", (Soft,), NEIGHBORHOODS[words])), words)


def test_a_sound_neighborhood_passes_as_a_class_and_as_an_instance() -> None:
    assert str(check_neighborhood(Soft)) == str(check_neighborhood(Soft())) == "matrix: no problem"
    assert check_neighborhood("gaussian", radius=0.3).ok
    words = "making it with its options raised UsageError: Got options for an instance"
    expect(check_neighborhood(Soft(), radius=1), words)


def test_a_neighborhood_without_chance_gets_a_remark() -> None:
    fixed = drawing(lambda z, f: (torch.ones_like(z), {"size": torch.ones(1)}))
    expect(
        check_neighborhood(type("Fixed", (Soft,), fixed)), "the seed changes nothing", remark=True
    )


# Finders


@dataclass(frozen=True)
class Axes(Finder):
    """Single features, those of largest variance first."""

    name = "axes"
    statement = WORDS
    orthonormal = True

    def search(self, scene, k):
        order = scene.moments[0] + scene.neighborhood.samples.double().var(0)
        rows = torch.eye(scene.n_features)[order.topk(k).indices]
        return Found(rows, self.measure(scene, rows), numbered("axis", k))


@dataclass(frozen=True)
class Sloped(Axes):
    slope: float = 1.0


@dataclass(frozen=True)
class Shifted(Axes):
    radius: float = 1.0


def finding(change: Any) -> dict[str, Any]:
    """Return a search whose result is changed."""
    return {"search": lambda self, scene, k: change(Axes.search(self, scene, k))}


def noisy(found: Found) -> Found:
    return replace(found, strengths=found.strengths + 1e-9 * next(CALLS))


def careless(scene, k, *, when: Any, error: Exception) -> Found:
    """Search without a look at the samples, and fail where they are not as they should be."""
    samples = scene.neighborhood.samples
    if when(samples):
        raise error
    rows = torch.eye(scene.n_features)[:k]
    return Found(rows, scene.variances(rows), numbered("axis", k))


def failing(when: Any) -> dict[str, Any]:
    return {
        "search": lambda self, scene, k: careless(scene, k, when=when, error=ValueError("hard")),
        "baseline": lambda self, scene, rows: 0.0,
    }


def overwrite_samples(self, scene, k):
    found = Axes.search(self, scene, k)
    scene.neighborhood.samples[0] += 1e-7
    return found


def divide(self, scene, k):
    found = Axes.search(self, scene, k)
    return replace(found, rows=found.rows / (scene.neighborhood.samples.var(0).min() > 0))


FINDERS_WRONG = {
    "making it with its options raised TypeError: ": {"__init__": lambda self, radius: None},
    "its statement has 2 words: expected at least 25": {"statement": "Single features."},
    "its strength_name is empty": {"strength_name": ""},
    "limit raised ValueError: out of order": {"limit": fail},
    "limit returns (0, 'none'): expected at least 1": {"limit": lambda *_: (0, "none")},
    "search raised ValueError: out of order": {"search": fail},
    "search returns Tensor: expected Found": finding(lambda found: found.rows),
    "search returns rows of shape (7, 480): expected (8, 480)": finding(
        lambda found: replace(found, rows=found.rows[1:])
    ),
    "rows of torch.float64: expected torch.float32": finding(
        lambda found: replace(found, rows=found.rows.double())
    ),
    "search returns rows with NaN": finding(lambda found: replace(found, rows=found.rows / 0)),
    "rows of length 2 to 2: expected 1": finding(lambda f: replace(f, rows=2 * f.rows)),
    "scalar products of up to 1, but it says orthonormal": finding(
        lambda found: replace(found, rows=found.rows[:1].repeat(8, 1))
    ),
    "search returns 1 labels for 8 rows": finding(lambda f: replace(f, labels=("axis",))),
    "search returns strengths of (8,) and torch.float32": finding(
        lambda found: replace(found, strengths=found.strengths.float())
    ),
    "measure returns strengths of () and torch.float64": {
        "search": lambda self, scene, k: replace(
            Axes().search(scene, k), strengths=torch.zeros(k).double()
        ),
        "measure": lambda self, scene, rows: torch.zeros(()).double(),
    },
    "measure raised ValueError: out of order": {
        "search": lambda self, scene, k: Axes().search(scene, k),
        "measure": fail,
    },
    "search returns strengths with NaN": finding(
        lambda found: replace(found, strengths=found.strengths / 0)
    ),
    "return measure(scene, rows), or say cross_validated = True": finding(
        lambda found: replace(found, strengths=2 * found.strengths)
    ),
    "but it says cross_validated = True": {
        "cross_validated": True,
        **finding(lambda found: replace(found, strengths=found.strengths + 1)),
    },
    "baseline returns -1": {"baseline": lambda *_: -1},
    "two searches with the same seed differ": finding(noisy),
    "search of one direction raised ValueError: few": {
        "search": lambda self, scene, k: fail_below(self, scene, k)
    },
    "rows where 1 is asked for": {
        "search": lambda self, scene, k: Axes.search(self, scene, max(k, 2))
    },
    "search overwrites the samples": {"search": overwrite_samples},
    "search with constant features raised ValueError: hard": failing(
        lambda x: x.isfinite().all() and x.var(0).min() == 0 and x.var() > 0
    ),
    "search returns NaN where some features are constant": {"search": divide},
    "search of samples with NaN raised ValueError: hard: expected NonFiniteError": failing(
        lambda x: not x.isfinite().all()
    ),
    "search of identical samples raised ValueError: hard: expected UsageError": failing(
        lambda x: not x.var()
    ),
    "search on cells of a region raised ValueError: hard": failing(lambda x: x.shape[1] == 6),
}


def fail_below(finder: Finder, scene: Any, k: int) -> Found:
    if k < 2:
        raise ValueError("few")
    return Axes.search(finder, scene, k)


@pytest.mark.parametrize("words", FINDERS_WRONG)
def test_what_is_wrong_with_a_finder_is_said(words: str) -> None:
    expect(check_finder(type("Faulty", (Axes,), FINDERS_WRONG[words])), words)


def test_a_sound_finder_passes_and_its_options_are_its_own() -> None:
    assert str(check_finder(Axes)) == str(check_finder(Axes())) == "axes: no problem"
    assert check_finder(Sloped, slope=2.0).ok
    expect(check_finder(Shifted), "its option 'radius' is also one of the neighborhood 'gaussian'")


def test_a_finder_of_weak_directions_gets_a_remark() -> None:
    weak = type("Weak", (Axes,), {"baseline": lambda *_: 1e9})
    expect(check_finder(weak), "no more than the 1e+09 of random ones", remark=True)


# Null models


@dataclass(frozen=True)
class Shuffled(Parallel):
    """Every column permuted by itself."""

    name = "shuffled"
    label = "columns permuted"
    phrase = "above chance (columns permuted)"


def returning(change: Any) -> dict[str, Any]:
    """Return a draw whose null is changed."""

    def draw(self, samples, spectrum, *, draws=None, seed=0, progress=None):
        return change(Shuffled().draw(samples, spectrum, draws=draws, seed=seed))

    return {"draw": draw}


def ignoring(**kept: Any) -> dict[str, Any]:
    """Return a draw that does not look at some of its arguments."""

    def draw(self, samples, spectrum, **given):
        given.pop("progress", None)
        return Shuffled().draw(samples, spectrum, **{**given, **kept})

    return {"draw": draw}


def unseeded(self, samples, spectrum, *, draws=None, seed=0, progress=None):
    return Shuffled().draw(samples, spectrum, draws=draws, seed=next(CALLS))


def turned(null: Any, spectra: Any) -> Any:
    return replace(null, spectra=spectra)


def of_noise(self, samples, spectrum, *, draws=None, seed=0, progress=None):
    """Draw noise of the samples' shape, whatever they are."""
    fake = torch.randn(
        spectrum.n_samples, spectrum.n_features, generator=torch.Generator().manual_seed(7)
    )
    scaled = fake * (spectrum.total_variance / fake.var(0).sum()).sqrt()
    return Shuffled().draw(scaled, spectrum, draws=draws, seed=seed)


def lenient(self, samples, spectrum, *, draws=None, seed=0, progress=None):
    if spectrum.n_samples > 2:
        return Shuffled().draw(samples, spectrum, draws=draws, seed=seed)
    raise ZeroDivisionError("two")


def on_nan(answer: Any) -> dict[str, Any]:
    """Return a draw that has another answer to samples with NaN."""

    def draw(self, samples, spectrum, *, draws=None, seed=0, progress=None):
        if not samples.samples.isfinite().all():
            return answer(samples, spectrum, draws)
        return Shuffled().draw(samples, spectrum, draws=draws, seed=seed)

    return {"draw": draw}


def all_nan(samples: Any, spectrum: Any, draws: int) -> Any:
    good = torch.nan_to_num(samples.samples)
    null = Shuffled().draw(good, spectrum, draws=draws)
    return turned(null, null.spectra * torch.nan)


def refuse(*_: Any, **__: Any) -> Any:
    raise UsageError("samples", "others", "leave the null out")


NULLS_WRONG = {
    "making it with its options raised TypeError: ": {"__init__": lambda self, radius: None},
    "it has no label": {"label": ""},
    "it counts components, but has no phrase": {"phrase": ""},
    "a null that refuses all samples": {"draw": refuse},
    "draw raised ValueError: out of order": {"draw": fail},
    "draw returns Tensor: expected Null": returning(lambda null: null.spectra),
    "draw says draws = 7: expected the 20 asked for": returning(lambda n: replace(n, draws=7)),
    "spectra of (20, 38) and torch.float64: expected (20, 39)": returning(
        lambda null: turned(null, null.spectra[:, 1:])
    ),
    "spectra of (20, 39) and torch.float32": returning(lambda n: turned(n, n.spectra.float())),
    "eigenvalues that are negative, NaN": returning(lambda n: turned(n, n.spectra - 1)),
    "eigenvalues that are not descending": returning(lambda n: turned(n, n.spectra.flip(1))),
    "expected the total variance of the samples": returning(lambda n: turned(n, 2 * n.spectra)),
    "the threshold not below the quantile": returning(lambda n: replace(n, threshold=1e-3)),
    "two draws with the same seed differ": {"draw": unseeded},
    "the seed changes nothing: make a generator": ignoring(seed=0),
    "draw returns 20 spectra where draws = 3": ignoring(draws=20),
    "components of samples without structure pass": returning(
        lambda null: replace(null, threshold=1.5, largest_quantile=1.4)
    ),
    "seconds returns -1: expected a number": {"seconds": lambda *_: -1},
    "seconds returns another number the second time": {"seconds": lambda *_: next(CALLS)},
    "draw for two samples raised ZeroDivisionError: two": {"draw": lenient},
    "draw for samples with NaN raised ValueError: expected NonFiniteError": on_nan(fail),
    "draw for samples with NaN returns NaN": on_nan(all_nan),
}


@pytest.mark.parametrize("words", NULLS_WRONG)
def test_what_is_wrong_with_a_null_is_said(words: str) -> None:
    expect(check_null(type("Faulty", (Shuffled,), NULLS_WRONG[words])), words)


def test_a_second_draw_that_fails_is_said() -> None:
    class Once(Shuffled):
        """Cannot draw with another seed."""

        def draw(self, samples, spectrum, *, draws=None, seed=0, progress=None):
            if seed:
                raise ValueError("only once")
            return Shuffled().draw(samples, spectrum, draws=draws)

    expect(check_null(Once), "a second draw raised ValueError: only once")


def test_sound_nulls_pass_on_samples_of_ones_own() -> None:
    assert str(check_null(Shuffled)) == str(check_null(Shuffled())) == "shuffled: no problem"
    assert check_null("signflip", samples=[whole(noise(30, 48).view(30, 3, 4, 4))]).ok


def test_a_null_that_contains_a_component_gets_a_remark() -> None:
    def draw(self, samples, spectrum, *, draws=None, seed=0, progress=None):
        null = Shuffled().draw(samples, spectrum, draws=draws, seed=seed)
        return replace(null, threshold=2 * float(spectrum.explained_variance[0]))

    containing = type("Containing", (Shuffled,), {"draw": draw})
    expect(check_null(containing), "a planted component of ten times", remark=True)


# Metrics


@dataclass(frozen=True)
class MeanError(PerImage):
    """Mean absolute error of the reconstructions."""

    name = "mean_error"
    label, unit, span, better = "mean error", "range", "0 (equal) to 1", "lower"
    formula, reference, oracle = "mean of |x − D(E(x))|", "–", "NumPy"
    evidence, not_evidence = "what is lost", "looks"

    def columns(self, batch):
        image, other = batch.compared()
        return {"mean_error": (image - other).abs().mean((1, 2, 3))}


def finishing(value: Any) -> dict[str, Any]:
    """Return a metric whose result is this."""

    class Constant(Tally):
        def __init__(self, *_: Any) -> None:
            self.batches = self.images = 0

        def add(self, batch):
            self.batches += 1
            self.images += len(batch)

        def finish(self):
            return value(self) if callable(value) else value

    return {"begin": lambda self, protocol: Constant()}


def values_of(**values: Any) -> Finished:
    return Finished(values)


def overwrite_images(self, batch):
    batch.images.mul_(0.5)
    return MeanError.columns(self, batch)


def too_few(tally: Any) -> Finished:
    if tally.batches > 1:
        raise TooFewError(tally.images, 100)
    return values_of(one=Value(1.0))


METRICS_WRONG = {
    "making it with its options raised TypeError: ": {"__init__": lambda self, radius: None},
    "it does not say its formula, oracle": {"formula": "", "oracle": ""},
    "its class has no docstring": {"__doc__": None},
    "its better is 'more': expected 'higher', 'lower' or ''": {"better": "more"},
    "its needs name eyes: expected some of reconstructions": {"needs": ("eyes",)},
    "it overwrites the images of a batch": {"columns": overwrite_images},
    "measuring raised ValueError: out of order": {"columns": fail},
    "finish returns dict: expected Finished": finishing({}),
    "finish returns no value": finishing(values_of()),
    "the value 'one' is 3: expected a Value": finishing(values_of(one=3)),
    "the value 'one' is infinite": finishing(values_of(one=Value(math.inf))),
    "the value 'one' is NaN without a note": finishing(values_of(one=Value(math.nan))),
    "the value 'one' is 3, outside of its interval 4 to 5": finishing(
        values_of(one=Value(3.0, 4.0, 5.0))
    ),
    "is another the second time": finishing(lambda _: values_of(one=Value(float(next(CALLS))))),
    "is another in batches of another size": finishing(
        lambda tally: values_of(one=Value(float(tally.batches)))
    ),
    "it has no value in batches of another size": finishing(too_few),
}


@pytest.mark.parametrize("words", METRICS_WRONG)
def test_what_is_wrong_with_a_metric_is_said(words: str) -> None:
    faulty = type("Faulty", (MeanError,), {"__doc__": "Faulty."} | METRICS_WRONG[words])
    expect(check_metric(faulty), words)


def test_sound_metrics_pass_and_need_not_have_a_value() -> None:
    assert (
        str(check_metric(MeanError)) == str(check_metric(MeanError())) == "mean_error: no problem"
    )
    missing = finishing(values_of(one=Value(math.nan, note="no image has one")))
    assert check_metric(type("Missing", (MeanError,), {"__doc__": "None.", **missing})).ok

    def refuse_all(self, batch):
        raise LatentlabError("images", "others", "leave it out")

    picky = type("Picky", (MeanError,), {"__doc__": "Picky.", "columns": refuse_all})
    expect(check_metric(picky), "it has no value for these images: Got images", remark=True)
