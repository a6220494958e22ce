"""Products with the decoder's Jacobian and its singular directions, against dense ones."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import LinearOperator, svds
from tiny_models import TINY, save_tiny
from torch import Tensor

from latentlab.encoding.encoder import encode
from latentlab.errors import NonFiniteError, ShapeError, UsageError, ZeroJacobianError
from latentlab.images.image import Image
from latentlab.latents import Latent, LatentSpec
from latentlab.layouts import Layout, PatchLayout, TokenLayout, WholeLayout, Window
from latentlab.linalg.subspaces import principal_angles
from latentlab.loaders import LatentVAE, load_vae, wrap_vae
from latentlab.pullback import FEATURES, DecoderMap, decoder_map, make_features, top_singular
from latentlab.pullback.linearization import Linearization
from latentlab.testing.linear_vae import LinearVAE, smooth_image


class ScaledVAE(LinearVAE):
    """A linear decoder whose channels change the image by different amounts."""

    gains = torch.tensor([0.2, 3.0, 1.0, 2.5, 0.5, 2.9])

    def _decode(self, latents: Tensor) -> Tensor:
        return super()._decode(latents * self.gains[:, None, None])


def dense_jacobian(function: Callable[[Tensor], Tensor], point: Tensor) -> np.ndarray:
    """Return the Jacobian (n_out, n_in) of a batch function at one point, row by row."""
    jacobian = torch.autograd.functional.jacobian(lambda z: function(z[None])[0].flatten(), point)
    return jacobian.flatten(1).double().numpy()


def differences(vae: LatentVAE, point: Tensor, step: float = 1e-5) -> np.ndarray:
    """Return the decoder's Jacobian (n_out, n_in) by central differences in float64."""
    exact: Any = copy.deepcopy(vae)
    exact.module.double()
    exact.dtype = torch.float64
    columns = []
    with torch.no_grad():
        for axis in torch.eye(point.numel(), dtype=torch.float64).view(-1, *point.shape):
            pair = torch.stack([point + step * axis, point - step * axis])
            ahead, behind = exact._decode(exact._place(pair, exact.dtype))
            columns.append((ahead - behind).flatten() / (2 * step))
    return torch.stack(columns, dim=1).numpy()


def latent_of(vae: LatentVAE, height: int, width: int) -> Latent:
    return encode(vae, Image(smooth_image(height, width), name="smooth"))


def rows(count: int, length: int, seed: int = 0) -> Tensor:
    return torch.randn(count, length, generator=torch.Generator().manual_seed(seed))


# Products


@pytest.fixture(scope="module", params=sorted(TINY))
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LatentVAE:
    folder = tmp_path_factory.mktemp("models") / request.param
    save_tiny(request.param, folder)
    with warnings.catch_warnings():
        # Tests of the loaders check what is said of the scale.
        warnings.filterwarnings("ignore", ".*(published scale|scale latents differently)")
        return load_vae(folder, device="cpu")


def test_products_of_every_family_are_those_of_its_dense_jacobian(tiny: LatentVAE) -> None:
    height, width = (tiny.only_side or side for side in (4, 8))
    latent = latent_of(tiny, height, width)
    jacobian = dense_jacobian(tiny.decode, latent.values)
    around = decoder_map(tiny, latent)
    some, changes = rows(3, around.n_features), rows(2, jacobian.shape[0])
    pushed = around.push(some).flatten(1).numpy()
    pulled = around.pull(changes.view(2, 3, height, width)).numpy()
    size = np.abs(jacobian).max()
    assert size > 1e-3
    np.testing.assert_allclose(pushed, some.numpy() @ jacobian.T, atol=3e-5 * size)
    np.testing.assert_allclose(pulled, changes.numpy() @ jacobian, atol=3e-5 * size)
    assert around.count.total == 3 + 2


def test_fewer_products_at_once_when_memory_runs_out(
    tiny: LatentVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = tiny.only_side or 8
    latent = latent_of(tiny, side, side)
    expected = decoder_map(tiny, latent).push(rows(5, latent.values.numel()))
    seen = []

    def decode_two(latents: Tensor) -> Tensor:
        seen.append(len(latents))
        if len(latents) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return tiny.decode(latents)

    vae = wrap_vae(encode=tiny.encode, decode=decode_two, spec=tiny.spec)
    monkeypatch.setattr(DecoderMap, "copies", 8)
    pushed = decoder_map(vae, latent).push(rows(5, latent.values.numel()))
    # Products of all sizes are sums of terms as large as the largest, which round in float32.
    size = float(expected.abs().max())
    torch.testing.assert_close(pushed, expected, atol=1e-5 * size, rtol=1e-4)
    assert seen == [8, 4, 2]


def test_forward_mode_gives_the_same_products(tiny: LatentVAE) -> None:
    side = tiny.only_side or 8
    latent = latent_of(tiny, side, side)
    linear = Linearization(tiny.decode, latent.values, copies=2)
    tangents = rows(2, latent.values.numel()).view(2, *latent.values.shape)
    expected = linear.push(tangents)
    linear.__dict__["_transposed"] = None
    torch.testing.assert_close(linear.push(tangents), expected, atol=1e-4, rtol=1e-3)


class DifferentiatedOnce(torch.autograd.Function):
    """A cube that torch can differentiate once backward, and forward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * gradient

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * tangent


def test_features_that_can_be_differentiated_only_once_use_forward_mode(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    def cube(images: Tensor) -> Tensor:
        cubed: Tensor = DifferentiatedOnce.apply(images)
        return cubed

    around = decoder_map(linear_vae, linear_latent, features=cube)
    assert around._linear._transposed is None
    some = rows(2, around.n_features)
    image = linear_vae.decode(linear_latent.values[None])
    expected = 3 * image**2 * linear_vae.decode(some.view(2, 6, 8, 10))
    torch.testing.assert_close(around.push(some), expected)


LAYOUTS: dict[str, Callable[[Window], Layout]] = {
    "whole": lambda window: WholeLayout((6, 8, 10), window),
    "tokens": lambda window: TokenLayout((6, 8, 10), window),
    "patches": lambda window: PatchLayout((6, 8, 10), window, patch=3),
}


@pytest.mark.parametrize("window", [Window(0, 0, 8, 10), Window(2, 3, 4, 5)])
@pytest.mark.parametrize("kind", LAYOUTS)
def test_products_in_any_layout_are_those_with_the_lifted_rows(
    kind: str, window: Window, linear_latent: Latent
) -> None:
    vae, layout = ScaledVAE(), LAYOUTS[kind](window)
    around = decoder_map(vae, linear_latent, layout=layout)
    lift = torch.stack([layout.lift(axis).flatten() for axis in torch.eye(layout.n_features)])
    jacobian = dense_jacobian(vae.decode, linear_latent.values) @ lift.T.double().numpy()
    pushed = around.push(torch.eye(layout.n_features)).flatten(1).numpy()
    np.testing.assert_allclose(pushed, jacobian.T, atol=1e-5)
    changes = rows(2, jacobian.shape[0])
    pulled = around.pull(changes.view(2, 3, 32, 40)).numpy()
    np.testing.assert_allclose(pulled, changes.numpy() @ jacobian, atol=1e-4)
    found = top_singular(around, 3, tolerance=1e-3)
    expected = np.linalg.svd(jacobian, compute_uv=False)[:3]
    np.testing.assert_allclose(found.values.numpy(), expected, rtol=1e-5)


# Singular directions


def test_singular_values_of_a_linear_decoder_are_those_of_its_matrix(linear_latent: Latent) -> None:
    vae = ScaledVAE()
    found = top_singular(decoder_map(vae, linear_latent), 8)
    matrix = dense_jacobian(vae.decode, linear_latent.values)
    expected = np.linalg.svd(matrix, compute_uv=False)[:8]
    np.testing.assert_allclose(found.values.numpy(), expected, rtol=1e-5)
    assert found.values.numpy() == pytest.approx([3.0] * 8)  # each channel has 80 cells
    assert found.converged
    np.testing.assert_allclose(found.rows @ found.rows.T, np.eye(8), atol=1e-6)
    assert bool((found.rows.amax(1) >= -found.rows.amin(1)).all())
    channels = found.rows.view(8, 6, -1).norm(dim=2)
    assert channels[:, 1].numpy() == pytest.approx(np.ones(8), abs=1e-3)


@pytest.mark.parametrize(
    "block", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(8, marks=pytest.mark.slow)]
)
def test_values_are_those_of_the_dense_jacobian(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DecoderMap, "copies", block)
    vae = load_vae("mini", device="cpu", dtype="float32")
    latent = encode(vae, "sample:flower", size=32)
    left, expected, right = dense_32(vae, latent)
    around = decoder_map(vae, latent)
    found = top_singular(around, 6, tolerance=1e-3, max_products=400)
    assert found.converged
    assert found.products == around.count.total <= 400
    np.testing.assert_allclose(found.values.numpy(), expected[:6], rtol=1e-4)
    assert float(principal_angles(found.rows, torch.from_numpy(right[:6].copy()))[-1]) < 0.02
    # The residual agrees with a transpose that is not ours.
    matrix = left * expected @ right
    first = found.rows[0].double().numpy()
    value = float(found.values[0])
    true = np.linalg.norm(matrix.T @ (matrix @ first) / value - value * first) / value
    assert true == pytest.approx(float(found.residuals[0]), abs=1e-4)


_DENSE: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}


def dense_32(vae: LatentVAE, latent: Latent) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the SVD of the decoder at this latent, computed once for each model."""
    if vae.spec.name not in _DENSE:
        jacobian = differences(vae, latent.values)
        _DENSE[vae.spec.name] = np.linalg.svd(jacobian, full_matrices=False)
    return _DENSE[vae.spec.name]


@pytest.mark.shared
@pytest.mark.slow
def test_taef2_agrees_with_scipys_lanczos_in_float64(shared: Path) -> None:
    vae = load_vae(str(shared / "models" / "taef2"), device="cpu", dtype="float32")
    latent = encode(vae, str(shared / "data" / "photos" / "n02510455_giant_panda.jpg"), size=32)
    exact: Any = copy.deepcopy(vae)
    exact.module.double()
    point = latent.values[None].double()

    def times(vector: np.ndarray) -> np.ndarray:
        axis = torch.from_numpy(vector.ravel()).view_as(point)
        step = 1e-5 / axis.norm()
        with torch.no_grad():
            ahead, behind = exact._decode(torch.cat([point + step * axis, point - step * axis]))
        return ((ahead - behind) / (2 * step)).flatten().numpy()

    def transposed(vector: np.ndarray) -> np.ndarray:
        change = torch.from_numpy(vector.ravel()).view(1, 3, 32, 32)
        return torch.autograd.functional.vjp(exact._decode, point, change)[1].flatten().numpy()

    shape = 3 * 32 * 32, point.numel()
    operator = LinearOperator(shape, matvec=times, rmatvec=transposed, dtype=np.float64)
    start = np.random.default_rng(1).standard_normal(point.numel())
    expected = svds(operator, k=4, tol=1e-3, v0=start, return_singular_vectors=False)
    found = top_singular(decoder_map(vae, latent), 8)
    assert found.converged
    assert found.products <= 160
    np.testing.assert_allclose(found.values[:4].numpy(), np.sort(expected)[::-1], rtol=1e-3)


def test_no_products_are_spent_on_rounding_while_copies_of_a_value_are_missing(
    linear_latent: Latent,
) -> None:
    for seed in range(10):
        found = top_singular(decoder_map(ScaledVAE(), linear_latent), 5, tolerance=1e-7, seed=seed)
        assert found.converged
        assert found.values.numpy() == pytest.approx([3.0] * 5, rel=1e-5)
        assert float(found.residuals.max()) <= 1e-5
        assert found.products < 120


def test_a_value_that_occurs_twice_is_found_twice() -> None:
    gains = torch.full((1, 40), 0.5)
    gains[0, :6] = torch.tensor([5.0, 4.0, 4.0, 4.0, 3.0, 2.0])
    vae = diagonal_vae(gains)
    latent = Latent(torch.zeros(1, 1, 40), vae.spec)
    found = top_singular(decoder_map(vae, latent), 5, tolerance=1e-3)
    assert found.values.tolist() == pytest.approx([5, 4, 4, 4, 3], rel=1e-5)
    blind = top_singular(decoder_map(vae, latent), 3, tolerance=1e-3, check_steps=0)
    assert blind.values.tolist() == pytest.approx([5, 4, 3], rel=1e-5)


def diagonal_vae(gains: Tensor) -> LatentVAE:
    """Return a decoder to gray images that multiplies each latent value by its own gain."""
    root = math.sqrt(3)
    return wrap_vae(
        encode=lambda images: images[:, :1],
        decode=lambda latents: (latents * gains / root).expand(-1, 3, -1, -1),
        spec=LatentSpec("diagonal", 1, 1),
    )


def test_a_basis_reduced_for_memory_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = torch.linspace(1, 2, 400).square().view(20, 20)
    vae = diagonal_vae(gains)
    latent = Latent(torch.zeros(1, 20, 20), vae.spec)
    monkeypatch.setattr("latentlab.pullback.singular.available_memory", lambda: 4 * 24 * 16 * 400)
    found = top_singular(decoder_map(vae, latent), 2, tolerance=1e-3, max_products=600)
    expected = gains.flatten().sort(descending=True).values[:2]
    assert found.converged
    assert found.values.tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_starting_near_the_answer_takes_few_products() -> None:
    gains = torch.linspace(1, 2, 400).square().view(20, 20)
    vae = diagonal_vae(gains)
    around = decoder_map(vae, Latent(torch.zeros(1, 20, 20), vae.spec))
    cold = top_singular(around, 3, check_steps=0)
    warm = top_singular(around, 3, check_steps=0, start=cold.rows)
    assert warm.products <= 8 < cold.products
    torch.testing.assert_close(warm.values, cold.values, rtol=1e-4, atol=0)


def test_the_same_seed_gives_the_same_bytes(linear_latent: Latent) -> None:
    first, again = (
        top_singular(decoder_map(ScaledVAE(), linear_latent), 3, seed=5) for _ in range(2)
    )
    assert torch.equal(first.rows, again.rows)
    other = top_singular(decoder_map(ScaledVAE(), linear_latent), 3, seed=6)
    assert not torch.equal(first.rows, other.rows)  # equal values allow any rotation


def test_all_directions_of_a_small_window(linear_latent: Latent) -> None:
    layout = WholeLayout((6, 8, 10), Window(0, 0, 1, 1))
    found = top_singular(decoder_map(ScaledVAE(), linear_latent, layout=layout), 6)
    assert found.values.tolist() == pytest.approx([3.0, 2.9, 2.5, 1.0, 0.5, 0.2], rel=1e-5)
    assert found.converged


# Features


def test_blur_is_that_of_scipy() -> None:
    image = smooth_image(24, 30)
    ours = make_features("blurred", {"sigma": 1.7})(image[None])[0]
    theirs = gaussian_filter(image.double().numpy(), (0, 1.7, 1.7), mode="nearest")
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (36, 20), (5, 8)])
def test_pyramid_without_falloff_keeps_every_length(height: int, width: int) -> None:
    images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    pyramid = make_features("laplacian", {"levels": 3, "falloff": 1})
    assert pyramid(images).norm(dim=1).numpy() == pytest.approx(
        images.flatten(1).norm(dim=1).numpy(), rel=1e-5
    )


def test_pyramid_counts_each_finer_octave_less() -> None:
    pyramid = make_features("laplacian", {"levels": 2, "falloff": 0.5})
    checks = torch.ones(8, 8)
    checks[::2, ::2] = checks[1::2, 1::2] = -1
    coarse = checks[:4, :4].repeat_interleave(2, 0).repeat_interleave(2, 1)
    for pattern, weight in ((checks, 0.25), (coarse, 0.5), (torch.ones(8, 8), 1.0)):
        images = pattern.expand(1, 3, 8, 8)
        assert float(pyramid(images).norm()) == pytest.approx(weight * float(images.norm()))


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_every_feature_map_is_a_function_of_each_image(name: str) -> None:
    images = torch.stack([smooth_image(16, 16, seed=seed) for seed in range(3)])
    features = make_features(name)
    together = features(images)
    torch.testing.assert_close(together[1:2], features(images[1:2]))
    assert torch.autograd.functional.jvp(features, images, images)[1].norm() > 0


def test_singular_values_in_a_users_features(linear_latent: Latent) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3, stride=2, padding=1), torch.nn.Tanh())
    vae = ScaledVAE()
    found = top_singular(decoder_map(vae, linear_latent, features=module), 3, tolerance=1e-3)
    matrix = dense_jacobian(lambda z: module(vae.decode(z)), linear_latent.values)
    expected = np.linalg.svd(matrix, compute_uv=False)[:3]
    np.testing.assert_allclose(found.values.numpy(), expected, rtol=1e-4)


# Errors


def test_a_clamped_decoder_says_where_it_is_clamped() -> None:
    vae = wrap_vae(
        encode=lambda images: images.mean(1, keepdim=True),
        decode=lambda latents: (2 * latents).clamp(-1, 1).expand(-1, 3, -1, -1),
        spec=LatentSpec("clamping", 1, 1),
    )
    values = torch.zeros(1, 8, 8)
    values[0, 2:6, 2:6] = 0.9
    latent = Latent(values, vae.spec)
    layout = WholeLayout((1, 8, 8), Window(2, 2, 4, 4))
    with pytest.raises(ZeroJacobianError, match=r"4×4 cells at \(2, 2\) \(100% of its values"):
        top_singular(decoder_map(vae, latent, layout=layout), 2)
    whole = decoder_map(vae, latent)
    assert whole.clipped() == pytest.approx(16 / 64)
    assert float(top_singular(whole, 2).values[0]) == pytest.approx(2 * math.sqrt(3))


def test_a_decoder_that_ignores_its_latent_is_reported() -> None:
    vae = wrap_vae(
        encode=lambda images: images[:, :1],
        decode=lambda latents: 0 * latents.expand(-1, 3, -1, -1) + 0.5,
        spec=LatentSpec("deaf", 1, 1),
    )
    around = decoder_map(vae, Latent(torch.zeros(1, 4, 4), vae.spec))
    with pytest.raises(ZeroJacobianError, match="decodes every latent to the same image"):
        top_singular(around, 2)
    assert around.count.total == 2  # one random direction is enough


def test_a_decoder_without_gradients_is_reported(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    cut = decoder_map(linear_vae, linear_latent, features=lambda images: images.detach())
    with pytest.raises(ZeroJacobianError, match="no gradients"):
        cut.push(rows(1, cut.n_features))


def test_nan_in_a_product_is_reported_with_its_number(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    def rooted(images: Tensor) -> Tensor:
        return (images - images.detach()).sqrt()

    around = decoder_map(linear_vae, linear_latent, features=rooted)
    with pytest.raises(NonFiniteError, match=r"change of the image in product 1 \(jvp\)"):
        around.push(rows(1, around.n_features))
    broken = Latent(torch.full((6, 8, 10), math.nan), linear_vae.spec)
    with pytest.raises(NonFiniteError, match="value of the image"):
        top_singular(decoder_map(linear_vae, broken), 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"k": 0}, "0 directions, .*expected 1 to 480"),
        ({"k": 481}, "481 directions"),
        ({"tolerance": 0.0}, "tolerance=0.0"),
        ({"max_products": 4}, "max_products=4"),
    ],
)
def test_invalid_numbers_are_refused(
    wrong: dict[str, Any], message: str, linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    with pytest.raises(UsageError, match=message):
        top_singular(decoder_map(linear_vae, linear_latent), **{"k": 3, **wrong})


def test_shapes_and_features_that_do_not_fit_are_refused(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    around = decoder_map(linear_vae, linear_latent)
    with pytest.raises(ShapeError, match=r"rows of shape \(2, 7\), .*expected \(b, 480\)"):
        around.push(torch.zeros(2, 7))
    with pytest.raises(ShapeError, match=r"expected \(b, 3, 32, 40\)"):
        around.pull(torch.zeros(2, 3, 8, 8))
    with pytest.raises(ShapeError, match="like the layout"):
        DecoderMap(linear_vae, torch.zeros(6, 4, 4), around.layout, around.features)
    for bad in ("sharp", "identity "):
        with pytest.raises(UsageError, match="one of blurred, identity, laplacian"):
            decoder_map(linear_vae, linear_latent, features=bad)
    with pytest.raises(UsageError, match="one of sigma"):
        make_features("blurred", {"radius": 3})
    with pytest.raises(UsageError, match="sigma='wide'"):
        make_features("blurred", {"sigma": "wide"})
    with pytest.raises(UsageError, match="sigma=-1"):
        make_features("blurred", {"sigma": -1})
