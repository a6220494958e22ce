"""What a notebook shows: images and animations, and one line of text beside them."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from latentlab.components.fitting import fit_pca
from latentlab.components.pca import PCA
from latentlab.figures.canvas import new_figure
from latentlab.figures.latents import latent_rgb
from latentlab.latents import Latent, Posterior, Spectrum
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.recipes.starting import traverse
from latentlab.testing.linear_vae import LinearVAE


@pytest.fixture
def small_pca(linear_vae: LinearVAE, linear_latent: Latent) -> PCA:
    return fit_pca(neighborhood(linear_vae, linear_latent, "augment", n_samples=20))


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_a_latent_shows_its_first_components_beside_its_image(linear_latent: Latent) -> None:
    shown = opened(linear_latent._repr_png_())
    assert shown.format == "PNG"
    assert shown.width > 1.6 * shown.height


def test_a_pca_shows_its_curve(small_pca: PCA) -> None:
    assert opened(small_pca._repr_png_()).size == (1088, 736)


def test_a_walk_shows_an_animation(
    linear_vae: LinearVAE, linear_latent: Latent, small_pca: PCA
) -> None:
    html = traverse(linear_vae, linear_latent, small_pca, n_components=2, steps=4)._repr_html_()
    found = re.fullmatch(r'<img src="data:image/webp;base64,([^"]+)" alt="[^"]+" [^>]+>', html)
    assert found
    assert opened(base64.b64decode(found[1])).n_frames == 6  # there and back


def test_a_walks_plot_is_its_sheet(
    linear_vae: LinearVAE, linear_latent: Latent, small_pca: PCA
) -> None:
    walk = traverse(linear_vae, linear_latent, small_pca, n_components=2, steps=5)
    ax = new_figure().add_subplot()
    assert walk.plot(ax) is ax
    height, width = ax.images[0].get_array().shape[:2]
    assert width > 5 * 96
    assert height > 2 * 76


def test_a_latents_plot_is_its_colors(linear_latent: Latent) -> None:
    ax = new_figure().add_subplot()
    assert linear_latent.plot(ax) is ax
    np.testing.assert_array_equal(ax.images[0].get_array(), latent_rgb(linear_latent.values))


def test_plot_draws_into_the_axes_it_is_given_and_returns_them(small_pca: PCA) -> None:
    ax = new_figure().add_subplot()
    assert small_pca.plot(ax) is ax
    curve = max(ax.lines, key=lambda line: line.get_linewidth())
    np.testing.assert_allclose(curve.get_ydata(), small_pca.spectrum.cumulative)
    text = " ".join(label.get_text() for label in ax.get_legend().get_texts())
    assert "isotropic noise" in text
    assert "b ln k" in text
    assert "N = 20, D = 480" in ax.get_title()
    assert any("k90" in note.get_text() for note in ax.texts)


def test_plot_without_axes_makes_a_figure_that_notebooks_show(small_pca: PCA) -> None:
    import matplotlib.pyplot as plt

    try:
        assert small_pca.plot().figure.number in plt.get_fignums()
    finally:
        plt.close("all")


@pytest.mark.parametrize("name", ["$\\frac$", "a_b^c$", "\udcff"])
def test_names_that_look_like_formulas_or_are_not_valid_text_are_drawn(
    linear_latent: Latent, small_pca: PCA, name: str
) -> None:
    origin = replace(linear_latent, name=name)
    sampling = replace(small_pca.sampling, origin=origin)
    assert opened(replace(small_pca, sampling=sampling)._repr_png_()).format == "PNG"
    assert opened(origin._repr_png_()).format == "PNG"


def test_eigenvalues_are_drawn_on_log_log_axes(small_pca: PCA) -> None:
    ax = small_pca.plot_eigenvalues(new_figure().add_subplot())
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_a_curve_of_two_samples_can_be_drawn() -> None:
    assert fit_pca(torch.randn(2, 5)).plot(new_figure().add_subplot()).lines


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_colors_are_the_leading_components_of_the_tokens(channels: int) -> None:
    values = torch.zeros(channels, 4, 5)
    values[channels - 1] = torch.arange(20.0).view(4, 5)  # one channel varies, along the cells
    colors = latent_rgb(values)
    assert colors.shape == (4, 5, 3)
    red = colors[..., 0].ravel().astype(int)
    assert (np.diff(red) >= 0).all()
    assert red[0] == 0
    assert red[-1] == 255
    assert not colors[..., 1:].any()


@pytest.mark.parametrize("shape", [(4, 1, 1), (4, 3, 3)])
def test_a_latent_without_differences_is_gray(shape: tuple[int, int, int]) -> None:
    colors = latent_rgb(torch.ones(shape))
    assert colors.shape == (*shape[1:], 3)
    assert (colors == 128).all()


def test_text_is_one_short_line(
    linear_vae: LinearVAE, linear_latent: Latent, small_pca: PCA
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "tokens")
    walk = traverse(linear_vae, linear_latent, small_pca, n_components=1, steps=2)
    results = [
        linear_latent, linear_latent.image, hood, small_pca, small_pca.spectrum,
        small_pca.directions, walk, walk.paths[0], Posterior(torch.zeros(1, 2, 3, 4)),
        Spectrum(torch.ones(2), 2.0, 3, 4), linear_vae,
    ]  # fmt: skip
    for result in results:
        text = repr(result)
        assert len(text) < 200, text
        assert "\n" not in text
        assert "tensor(" not in text
