"""Each finder against an answer that is not its own: closed forms, scikit-learn, planted data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor

from latentlab.directions import FINDERS, jacobian
from latentlab.directions.base import Scene
from latentlab.directions.factor_table import read_factors
from latentlab.directions.ridge import fit_ridge, fold_of
from latentlab.directions.sparse_pca import _sparse_components
from latentlab.directions.supervised import standardized_factors
from latentlab.encoding.encoder import encode
from latentlab.errors import LatentlabError, UsageError
from latentlab.images.arrays import to_uint8
from latentlab.latents import Directions, Latent, Neighborhood
from latentlab.layouts import WholeLayout, Window
from latentlab.loaders import load_vae
from latentlab.neighborhoods.sampling import neighborhood, resample
from latentlab.pullback.linearization import Linearization
from latentlab.pullback.singular import top_singular
from latentlab.recipes.starting import find_directions
from latentlab.testing.linear_vae import LinearVAE, smooth_image
from latentlab.testing.planted import hood_of, noise, whole


def planted(samples: Tensor, vae: LinearVAE, **factors: Tensor) -> tuple[Latent, Neighborhood]:
    """Return a latent (6, 4, 4) and these rows (N, 96) as its neighborhood."""
    latent = Latent(torch.zeros(6, 4, 4), vae.spec)
    layout = WholeLayout((6, 4, 4), Window(0, 0, 4, 4))
    hood = hood_of(samples.float(), latent, layout, "augment", factors=factors)
    return latent, hood


def orthonormal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    square = torch.randn(columns, rows, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(square)[0].T


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# pca and random


def test_pca_is_the_svd_of_the_samples(linear_vae: LinearVAE, linear_latent: Latent) -> None:
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=30)
    found = find_directions(linear_vae, linear_latent, hood, 4)
    centered = hood.samples.double().numpy() - hood.samples.double().numpy().mean(0)
    _, singular, rows = np.linalg.svd(centered, full_matrices=False)
    np.testing.assert_allclose(found.strengths, singular[:4] ** 2 / 29, rtol=1e-6)
    np.testing.assert_allclose(
        np.abs((found.rows.double().numpy() * rows[:4]).sum(1)), 1, rtol=1e-5
    )
    assert found.labels == ("PC 1", "PC 2", "PC 3", "PC 4")


def test_more_components_than_are_kept_can_be_asked_for(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "gaussian", n_samples=90)
    assert find_directions(linear_vae, linear_latent, hood, 70).rows.shape == (70, 480)


def test_random_directions_have_the_mean_variance_of_a_feature(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "gaussian", n_samples=200)
    found = find_directions(linear_vae, linear_latent, hood, 200, finder="random")
    expected = float(hood.samples.double().var(0).mean())
    assert float(found.strengths.mean()) == pytest.approx(expected, rel=0.05)
    assert found.baseline_strength == pytest.approx(expected, rel=0.1)


# supervised


def test_ridge_is_scikit_learns_within_and_without_folds(generator: torch.Generator) -> None:
    from sklearn.linear_model import Ridge

    rows = torch.randn(40, 300, generator=generator, dtype=torch.float64)
    targets = rows[:, :2] + 0.3 * torch.randn(40, 2, generator=generator, dtype=torch.float64)
    gram = rows @ rows.T
    dual, predictions, penalties = fit_ridge(
        gram, targets, generator=torch.Generator().manual_seed(5)
    )
    fold = fold_of(40, 5, torch.Generator().manual_seed(5)).numpy()
    centered = rows - rows.mean(0)
    for column in range(2):
        model = Ridge(float(penalties[column]), solver="cholesky")
        model.fit(rows.numpy(), targets[:, column].numpy())
        weights = centered.T @ dual[:, column]
        np.testing.assert_allclose(weights, model.coef_, rtol=1e-6, atol=1e-9)
        expected = np.empty(40)
        for number in range(5):
            seen = fold != number
            model.fit(rows.numpy()[seen], targets[:, column].numpy()[seen])
            expected[~seen] = model.predict(rows.numpy()[~seen])
        np.testing.assert_allclose(predictions[:, column], expected, rtol=1e-6)


def test_the_penalty_has_the_least_error_of_all_that_were_tried(generator: torch.Generator) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, PredefinedSplit

    rows = torch.randn(60, 80, generator=generator, dtype=torch.float64)
    targets = rows[:, :1] + torch.randn(60, 1, generator=generator, dtype=torch.float64)
    _, _, penalties = fit_ridge(rows @ rows.T, targets, generator=torch.Generator().manual_seed(1))
    scale = float(rows.square().sum(1).mean())
    search = GridSearchCV(
        Ridge(),
        {"alpha": scale * np.logspace(-6, 2, 17)},
        cv=PredefinedSplit(fold_of(60, 5, torch.Generator().manual_seed(1)).numpy()),
        scoring="neg_mean_squared_error",
    )
    search.fit(rows.numpy(), targets[:, 0].numpy())
    assert float(penalties[0]) == pytest.approx(search.best_params_["alpha"])


def test_supervised_finds_planted_factors_and_admits_what_is_not_there(
    linear_vae: LinearVAE, generator: torch.Generator
) -> None:
    basis = orthonormal(2, 96, generator)
    turn, gain = torch.rand(200, 2, generator=generator, dtype=torch.float64).T
    rows = torch.stack([turn, 2 * gain], 1) @ basis
    rows = rows + 0.02 * torch.randn(200, 96, generator=generator)
    noise = torch.rand(200, generator=generator)
    latent, hood = planted(rows, linear_vae, rotation=turn, zoom=gain.exp(), hue=noise)
    found = find_directions(linear_vae, latent, hood, finder="supervised")
    assert found.labels == ("zoom", "rotation", "hue")
    assert float(found.strengths[:2].min()) > 0.99
    assert float(found.strengths[2]) < 0.25
    # Directions point to where the factor grows.
    torch.testing.assert_close(
        (found.rows[:2].double() * basis[[1, 0]]).sum(1), torch.ones(2).double(), atol=0.05, rtol=0
    )
    assert find_directions(linear_vae, latent, hood, 1, finder="supervised").labels == ("zoom",)


@pytest.mark.slow
@pytest.mark.shared
def test_supervised_reads_the_factors_of_a_photo_off_taef2(shared: Path) -> None:
    # The figures, at less cost: 256 px, N = 256 and 64 held out are a command away,
    # `latentlab directions PHOTO --finder supervised -m ../shared/models/taef2 --size 256 --json`.
    vae = load_vae(str(shared / "models" / "taef2"), device="cpu", dtype="float32")
    photo = shared / "data" / "photos" / "n02510455_giant_panda.jpg"
    latent = encode(vae, str(photo), size=128)
    hood = neighborhood(vae, latent, "augment", n_samples=96, seed=0)
    fresh = neighborhood(vae, latent, "augment", n_samples=32, seed=1)
    found = find_directions(vae, latent, hood, finder="supervised")
    scores = (fresh.samples.double() @ found.rows.double().T).numpy()
    rho = {
        name: float(spearmanr(scores[:, found.labels.index(name)], values.numpy()).statistic)
        for name, values in fresh.factors.items()
    }
    wanted = {"rotation": 0.95, "zoom": 0.95, "shift_x": 0.9, "shift_y": 0.9, "brightness": 0.85}
    assert {name: rho[name] for name, least in wanted.items() if rho[name] < least} == {}
    for row in read_factors(found, hood, fresh):
        assert row["found"] == pytest.approx(rho[row["factor"]], abs=1e-6)
        if row["factor"] in wanted:
            assert row["found"] > max(row["pca"], row["random"])


def test_gains_are_read_in_logarithms_and_constant_factors_are_left_out(
    linear_vae: LinearVAE,
) -> None:
    gains, ones = torch.tensor([0.5, 1.0, 2.0]), torch.ones(3)
    _, hood = planted(torch.zeros(3, 96), linear_vae, zoom=gains, hue=ones, blur=torch.arange(3.0))
    names, values = standardized_factors(hood)
    assert names == ("zoom", "blur")
    torch.testing.assert_close(
        values, torch.tensor([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]]).double()
    )
    with pytest.raises(UsageError, match="without known factors"):
        standardized_factors(planted(torch.zeros(3, 96), linear_vae, hue=ones)[1])


@pytest.mark.slow
@pytest.mark.shared
def test_supervised_reads_known_factors_off_real_latents(shared: Path) -> None:
    from latentlab.directions.factor_table import read_factors
    from latentlab.loaders import load_vae

    vae = load_vae(shared / "models/taef2")
    latent = encode(vae, shared / "data/photos/n01518878_ostrich.jpg", size=64)
    hood = neighborhood(vae, latent, "augment", n_samples=128)
    found = find_directions(vae, latent, hood, finder="supervised")
    fresh = resample(vae, hood)
    assert fresh is not None
    table = {row["factor"]: row for row in read_factors(found, hood, fresh)}
    for name in ("rotation", "zoom", "shift_x", "shift_y"):
        assert table[name]["found"] > 0.9, table[name]
        assert table[name]["found"] > table[name]["random"]
    assert table["brightness"]["found"] > 0.85 > table["brightness"]["pca"]


# jacobian


class ScaledVAE(LinearVAE):
    """Decodes each channel with a gain of its own: 1, 2, … 6."""

    def _decode(self, latents: Tensor) -> Tensor:
        return super()._decode(latents * torch.arange(1.0, 7.0)[:, None, None])


def dense(vae: LinearVAE, hood: Neighborhood) -> Tensor:
    """Return the decoder's matrix (pixels, n_features) in a neighborhood's features."""
    lifted = torch.stack([hood.lift(row) for row in torch.eye(hood.n_features)])
    return vae.decode(lifted).flatten(1).double().T


@pytest.mark.parametrize(
    ("name", "region"), [("gaussian", None), ("gaussian", (4, 4, 12, 8)), ("tokens", None)]
)
def test_jacobian_is_the_svd_of_the_decoders_matrix(
    name: str, region: tuple[int, int, int, int] | None, linear_latent: Latent
) -> None:
    vae = ScaledVAE()
    hood = neighborhood(vae, linear_latent, name, n_samples=40, region=region)
    found = find_directions(vae, linear_latent, hood, 5, finder="jacobian", tolerance=1e-6)
    matrix = dense(vae, hood)
    expected = torch.linalg.svdvals(matrix)[:5]
    torch.testing.assert_close(found.strengths, expected, rtol=1e-5, atol=0)
    changes = (matrix @ found.rows.double().T).norm(dim=0)
    torch.testing.assert_close(changes, expected, rtol=1e-4, atol=0)
    assert found.residuals is not None
    assert float(found.residuals.max()) <= 1e-5  # where products of float32 end
    assert 10 <= found.matvecs <= 160
    # Of isotropic rows, E‖Jv‖² is the mean of all squared singular values.
    mean = float(torch.linalg.svdvals(matrix).square().mean().sqrt())
    assert found.baseline_strength == pytest.approx(mean, rel=0.06)


def test_a_step_of_the_jacobian_changes_the_image_as_one_along_the_first_component(
    linear_latent: Latent,
) -> None:
    vae = ScaledVAE()
    hood = neighborhood(vae, linear_latent, "augment", n_samples=40)
    found = find_directions(vae, linear_latent, hood, 3, finder="jacobian")
    pca = find_directions(vae, linear_latent, hood, 1)
    matrix = dense(vae, hood)
    step = matrix @ (pca.rows[0].double() * pca.deviations[0])
    steps = matrix @ (found.rows.double() * found.step_lengths[:, None]).T
    torch.testing.assert_close(steps.norm(dim=0), step.norm().expand(3), rtol=1e-4, atol=0)
    assert found.step_unit == "σ of PC 1"
    assert pca.step_unit == "σ"


def test_jacobian_measures_change_where_it_is_told_to(linear_latent: Latent) -> None:
    vae = ScaledVAE()
    hood = neighborhood(vae, linear_latent, "tokens")

    def red(images: Tensor) -> Tensor:
        return images[:, 0]

    found = find_directions(
        vae, linear_latent, hood, 2, finder="jacobian", features=red, tolerance=1e-6
    )
    red_rows = dense(vae, hood)[: 32 * 40]
    torch.testing.assert_close(
        found.strengths, torch.linalg.svdvals(red_rows)[:2], rtol=1e-5, atol=0
    )
    with pytest.raises(UsageError, match="features 'nonsense'"):
        find_directions(vae, linear_latent, hood, 2, finder="jacobian", features="nonsense")


def test_matvecs_are_the_rows_that_were_multiplied_in_the_search(
    linear_latent: Latent, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, searched = [0], list[int]()
    for name in ("push", "pull"):
        plain = getattr(Linearization, name)

        def counted(self: Any, batch: Tensor, plain: Any = plain) -> Tensor:
            rows[0] += len(batch)
            return plain(self, batch)

        monkeypatch.setattr(Linearization, name, counted)

    def search(*args: Any, **options: Any) -> Any:
        before, found = rows[0], top_singular(*args, **options)
        searched.append(rows[0] - before)
        return found

    monkeypatch.setattr(jacobian, "top_singular", search)
    vae = ScaledVAE()
    hood = neighborhood(vae, linear_latent, "gaussian", n_samples=20)
    found = find_directions(vae, linear_latent, hood, 4, finder="jacobian")
    assert searched == [found.matvecs]
    assert found.matvecs > 8


def test_a_search_that_ends_early_says_so(linear_latent: Latent) -> None:
    vae = ScaledVAE()
    hood = neighborhood(vae, linear_latent, "gaussian", n_samples=20)
    found = find_directions(
        vae, linear_latent, hood, 4, finder="jacobian", max_products=10, tolerance=1e-4
    )
    (note,) = found.notes
    assert "not converged after" in note
    assert found.matvecs <= 10
    with pytest.raises(UsageError, match="max_products=1"):
        find_directions(vae, linear_latent, hood, 4, finder="jacobian", max_products=1)


def test_a_decoder_that_answers_nothing_is_refused(linear_latent: Latent) -> None:
    class Deaf(LinearVAE):
        def _decode(self, latents: Tensor) -> Tensor:
            return 0 * super()._decode(latents)

    hood = neighborhood(Deaf(), linear_latent, "gaussian", n_samples=20)
    with pytest.raises(LatentlabError, match=r"Got .*but expected"):
        find_directions(Deaf(), linear_latent, hood, 4, finder="jacobian")


# ica


def test_ica_separates_what_pca_cannot(linear_vae: LinearVAE, generator: torch.Generator) -> None:
    basis = orthonormal(3, 96, generator)
    sources = torch.rand(1500, 3, generator=generator, dtype=torch.float64) - 0.5
    rows = sources @ basis + 1e-4 * torch.randn(1500, 96, generator=generator)
    latent, hood = planted(rows, linear_vae)
    found = find_directions(linear_vae, latent, hood, 3, finder="ica", leading=3)
    cosines = (found.rows.double() @ basis.T).abs()
    torch.testing.assert_close(cosines.amax(1), torch.ones(3).double(), atol=2e-3, rtol=0)
    assert sorted(cosines.argmax(1).tolist()) == [0, 1, 2]
    # A uniform distribution has an excess kurtosis of −6/5.
    torch.testing.assert_close(found.strengths, torch.full((3,), 1.2).double(), atol=0.08, rtol=0)


def test_ica_measures_the_kurtosis_that_scipy_has(
    linear_vae: LinearVAE, generator: torch.Generator
) -> None:
    from scipy.stats import kurtosis

    rows = torch.randn(80, 96, generator=generator).pow(3)
    latent, hood = planted(rows, linear_vae)
    finder = FINDERS.make("ica", {"leading": 5})
    scene = Scene(linear_vae, latent, hood)
    directions = orthonormal(4, 96, generator)
    components = scene.pca.components[:5].double().numpy()
    scores = (rows.double().numpy() - rows.double().numpy().mean(0)) @ components.T
    scores /= scores.std(0, ddof=1)
    weights = (
        directions.numpy()
        @ components.T
        / np.sqrt(scene.pca.spectrum.explained_variance[:5].numpy())
    )
    expected = np.abs(kurtosis(scores @ weights.T, axis=0))
    np.testing.assert_allclose(finder.measure(scene, directions.float()), expected, rtol=1e-4)


def test_ica_that_does_not_converge_says_so(
    linear_vae: LinearVAE, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentlab.directions.ica._ITERATIONS", 1)
    latent, hood = planted(torch.randn(60, 96, generator=generator), linear_vae)
    note, _ = find_directions(linear_vae, latent, hood, 4, finder="ica").notes
    assert "did not converge" in note


# sparse-pca


def test_sparse_pca_finds_planted_sparse_directions(
    linear_vae: LinearVAE, generator: torch.Generator
) -> None:
    basis = torch.zeros(2, 96, dtype=torch.float64)
    basis[0, :8] = 8**-0.5
    basis[1, 40:52] = 12**-0.5
    scores = torch.randn(150, 2, generator=generator, dtype=torch.float64) * torch.tensor([3, 2])
    rows = scores @ basis + 0.1 * torch.randn(150, 96, generator=generator)
    latent, hood = planted(rows, linear_vae)
    found = find_directions(linear_vae, latent, hood, 2, finder="sparse-pca")
    cosines = (found.rows.double() @ basis.T).abs()
    torch.testing.assert_close(cosines, torch.eye(2).double(), atol=0.02, rtol=0)
    supports = [set(row.nonzero().flatten().tolist()) for row in found.rows]
    assert supports[0] == set(range(8))
    assert supports[1] == set(range(40, 52))
    assert found.notes == ("10% of the entries are not zero (sparsity 1)",)


def test_a_rotation_among_samples_changes_no_sparse_direction(generator: torch.Generator) -> None:
    """Reducing the samples by PCA is such a rotation; scikit-learn sees the samples themselves."""
    from sklearn.decomposition import SparsePCA

    basis = torch.zeros(2, 30, dtype=torch.float64)
    basis[0, :5], basis[1, 10:14] = 5**-0.5, 0.5
    samples = torch.randn(40, 2, generator=generator, dtype=torch.float64) * torch.tensor([3, 2])
    samples = samples @ basis + 0.05 * torch.randn(40, 30, generator=generator)
    samples = (samples - samples.mean(0)) / 39**0.5
    _, singular, rows = torch.linalg.svd(samples, full_matrices=False)
    reduced = singular[:, None] * rows
    found, _ = _sparse_components(reduced, 2, 0.05, 0)
    expected = SparsePCA(2, alpha=0.05, random_state=0).fit(samples.numpy()).components_
    unit = found / found.norm(dim=1, keepdim=True)
    cosines = np.abs(unit.numpy() @ (expected / np.linalg.norm(expected, axis=1)[:, None]).T)
    np.testing.assert_allclose(np.sort(cosines.max(1)), 1, atol=1e-3)


# difference


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return two folders of 6 and 5 images of 32×40 pixels; the second's are brighter."""
    dark, bright = tmp_path / "dark", tmp_path / "bright"
    for folder, count, light in ((dark, 6, -0.3), (bright, 5, 0.3)):
        folder.mkdir()
        for seed in range(count):
            pixels = (0.4 * smooth_image(seed=seed + 10 * count) + light).clamp(-1, 1)
            Image.fromarray(to_uint8(pixels).numpy()).save(folder / f"{seed}.png")
    return dark, bright


def latents_of(vae: LinearVAE, folder: Path) -> Tensor:
    return torch.stack([encode(vae, path).values for path in sorted(folder.iterdir())])


def test_the_difference_of_two_images_is_that_of_their_latents(
    linear_vae: LinearVAE, linear_latent: Latent, tmp_path: Path
) -> None:
    other = tmp_path / "other.png"
    Image.fromarray(to_uint8(smooth_image(seed=5)).numpy()).save(other)
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=30)
    found = find_directions(linear_vae, linear_latent, hood, finder="difference", other=str(other))
    change = encode(linear_vae, other).values - linear_latent.values
    torch.testing.assert_close(found.vectors[0], change / change.norm())
    assert found.labels == ("smooth → other",)
    # The other image lies this many of the neighborhood's standard deviations away.
    expected = change.norm().double() / found.deviations[0]
    assert float(found.strengths[0]) == pytest.approx(float(expected), rel=1e-5)


def test_a_image_of_another_size_is_brought_to_the_size_that_is_looked_at(
    linear_vae: LinearVAE, linear_latent: Latent, tmp_path: Path
) -> None:
    other = tmp_path / "large.png"
    Image.fromarray(to_uint8(smooth_image(96, 120, seed=5)).numpy()).save(other)
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=30)
    found = find_directions(linear_vae, linear_latent, hood, finder="difference", other=str(other))
    assert found.vectors.shape == (1, 6, 8, 10)


@pytest.mark.parametrize("method", ["means", "discriminant"])
def test_the_difference_of_two_folders(
    method: str, linear_vae: LinearVAE, linear_latent: Latent, folders: tuple[Path, Path]
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "gaussian", n_samples=30)
    dark, bright = folders
    found = find_directions(
        linear_vae,
        linear_latent,
        hood,
        finder="difference",
        negative=str(dark),
        positive=str(bright),
        method=method,
    )
    sides = [latents_of(linear_vae, folder).flatten(1).double() for folder in folders]
    change = sides[1].mean(0) - sides[0].mean(0)
    if method == "discriminant":
        within = torch.cat([side - side.mean(0) for side in sides])
        covariance = within.T @ within / len(within)
        ridge = float(covariance.trace()) / 480
        shrunk = 0.9 * covariance + 0.1 * ridge * torch.eye(480)
        change = torch.linalg.solve(shrunk, change)
    expected = (change / change.norm()).float()
    torch.testing.assert_close(found.rows[0], expected, atol=1e-5, rtol=1e-4)
    assert found.labels == ("dark → bright",)
    assert float(found.strengths[0]) > 1.5 * found.baseline_strength


def test_the_discriminant_is_scikit_learns(generator: torch.Generator) -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    from latentlab.directions.difference import _discriminant

    negative, positive = torch.randn(2, 12, 50, generator=generator, dtype=torch.float64)
    positive = positive + 0.5
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3)
    model.fit(torch.cat([negative, positive]).numpy(), [0] * 12 + [1] * 12)
    expected = model.coef_[0] / np.linalg.norm(model.coef_[0])
    found = _discriminant(negative, positive, 0.3)
    np.testing.assert_allclose(found / found.norm(), expected, rtol=1e-6, atol=1e-9)


def test_folders_without_a_difference_separate_nothing(
    linear_vae: LinearVAE, linear_latent: Latent, tmp_path: Path
) -> None:
    """480 features separate any 12 images that a direction was fitted to; not those left out."""
    for name, first in (("a", 0), ("b", 50)):
        (tmp_path / name).mkdir()
        for seed in range(first, first + 6):
            pixels = to_uint8(smooth_image(seed=seed)).numpy()
            Image.fromarray(pixels).save(tmp_path / name / f"{seed}.png")
    hood = neighborhood(linear_vae, linear_latent, "gaussian", n_samples=20)
    options = {"negative": str(tmp_path / "a"), "positive": str(tmp_path / "b")}
    finder = FINDERS.make("difference", options)
    found = find_directions(linear_vae, linear_latent, hood, finder=finder)
    measured = finder.measure(Scene(linear_vae, linear_latent, hood), found.rows)
    assert float(measured[0]) > 1.5
    assert float(found.strengths[0]) < 0.8


def test_sides_that_are_too_small_or_alike_are_refused(
    linear_vae: LinearVAE, linear_latent: Latent, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "gaussian", n_samples=20)

    def search(**options: str) -> Directions:
        return find_directions(linear_vae, linear_latent, hood, finder="difference", **options)

    dark, _ = folders
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    Image.fromarray(to_uint8(smooth_image()).numpy()).save(lonely / "0.png")
    with pytest.raises(UsageError, match=r"lonely with 1 image,"):
        search(negative=str(lonely), positive=str(dark))
    with pytest.raises(UsageError, match="two identical sides"):
        search(negative=str(dark), positive=str(dark))


def test_ica_of_gaussian_samples_is_no_less_gaussian_than_its_baseline() -> None:
    hood = whole(noise(120, 48).reshape(120, 3, 4, 4))
    scene = Scene(load_vae("linear"), hood.origin, hood)
    finder = FINDERS.make("ica", {"leading": 6})
    found = finder.search(scene, 6)
    assert found.notes[-1].startswith("0 of 6 components are less Gaussian")
    strength = float(found.strengths.mean())
    assert finder.baseline(scene, found.rows) == pytest.approx(strength, rel=0.5)
    # What random directions have is far less, though nothing is there to be found.
    assert float(finder.measure(scene, noise(16, 48)).mean()) < 0.6 * strength
