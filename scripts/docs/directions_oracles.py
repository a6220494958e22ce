"""Directions, labels and walks, on the linear control and on planted rows."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from images_oracles import linear
from oracles import Pair, oracle
from spectrum_oracles import copies, planted

import latentlab

HEADING = "Directions, labels and walks"
PLACE = 2


@cache
def scene() -> tuple[Any, Any]:
    """Return the latent of a small image, and the matrix of the linear decoder around it."""
    z = latentlab.encode(linear(), "sample:flower", size=16)
    basis = torch.eye(z.values.numel()).view(-1, *z.values.shape)
    matrix = linear().decode(basis).flatten(1) - linear().decode(0 * basis[:1]).flatten(1)
    return z, matrix.double().numpy().T


@cache
def walk() -> Any:
    """Return a short walk on the copies of a photo."""
    vae = latentlab.load_vae("mini", device="cpu", dtype="float32")
    hood, pca, _ = copies()
    return latentlab.traverse(vae, hood.origin, pca, n_components=2, span=3.0, steps=5)


@oracle(
    numbers=("strengths", "steps"),
    by="NumPy: singular values of the decoder's matrix",
    tolerance=1e-4,
    test="test_pullback.py::test_singular_values_of_a_linear_decoder_are_those_of_its_matrix",
)
def jacobian() -> Pair:
    from latentlab.pullback import decoder_map, top_singular

    z, matrix = scene()
    found = top_singular(decoder_map(linear(), z), 3)
    return found.values, np.linalg.svd(matrix, compute_uv=False)[:3]


@oracle(
    numbers=("deviations", "strengths", "explained_variance_ratio"),
    by="NumPy: variances of the samples along each direction",
    tolerance=1e-5,
    test="test_finders.py::test_pca_is_the_svd_of_the_samples",
)
def variances() -> Pair:
    vae = latentlab.load_vae("mini", device="cpu", dtype="float32")
    hood, _, rows = copies()
    found = latentlab.find_directions(vae, hood.origin, hood, n_components=4)
    along = (rows @ found.rows.double().numpy().T).var(0, ddof=1)
    return [*found.strengths, *found.deviations], [*along, *np.sqrt(along)]


@oracle(
    numbers=("labels.rho", "labels.factors", "labels.statistics", "factors.found", "factors.pca"),
    by="SciPy: `stats.spearmanr`",
    tolerance=1e-9,
    test="test_correlation.py::test_every_pair_of_columns_has_scipys_correlation",
)
def correlation() -> Pair:
    from scipy.stats import spearmanr

    from latentlab.metrics.correlation import spearman

    first, second = planted(30, 3), planted(30, 4, seed=1)
    theirs = spearmanr(first, second).statistic[:3, 3:]
    return spearman(torch.from_numpy(first), torch.from_numpy(second)), theirs


@oracle(
    numbers=("agreement.overlap", "agreement.angles", "agreement.cosines"),
    by="SciPy: `linalg.subspace_angles`",
    tolerance=1e-7,
    test="test_subspaces.py::test_angles_are_those_of_scipy",
)
def angles() -> Pair:
    from scipy.linalg import subspace_angles

    from latentlab.linalg.subspaces import principal_angles, subspace_overlap

    a, b = planted(3, 9), planted(4, 9, seed=1)
    theirs = subspace_angles(a.T, b.T)[::-1]
    both = torch.from_numpy(a), torch.from_numpy(b)
    ours = [*principal_angles(*both), subspace_overlap(*both)]
    return ours, [*theirs, np.mean(np.cos(theirs) ** 2)]


@oracle(
    numbers=("agreement.chance", "agreement.chance_deviation"),
    by="NumPy: 4,000 random subspaces (tolerance: their sampling error)",
    tolerance=0.03,
    test="test_subspaces.py::test_chance_is_that_of_simulated_random_spans",
)
def overlap_by_chance() -> Pair:
    from latentlab.linalg.subspaces import random_overlap, random_overlap_deviation

    generator = np.random.default_rng(0)
    rows = np.linalg.qr(generator.normal(size=(4000, 12, 3)))[0]
    # One span may stay fixed: only the angle between both is random.
    drawn = np.sum(rows[:, :3] ** 2, (1, 2)) / 3
    return [random_overlap(3, 3, 12), random_overlap_deviation(3, 3, 12)], [
        drawn.mean(),
        drawn.std(),
    ]


@oracle(
    numbers=("alignment.channels.value",),
    by="NumPy: Σ e² over the shares of the channels",
    tolerance=1e-9,
    test="test_alignment.py::test_concentration_is_one_over_c_for_directions_that_use_all_channels_alike",
)
def concentration() -> Pair:
    from latentlab.pullback.alignment import channel_concentration

    vectors = np.random.default_rng(0).normal(size=(5, 3, 4, 4))
    energy = np.sum(vectors**2, (2, 3))
    shares = energy / energy.sum(1, keepdims=True)
    return channel_concentration(torch.from_numpy(vectors)).value, np.sum(shares**2, 1).mean()


@oracle(
    numbers=(
        *("alignment.decoder.ima.value", "alignment.decoder.within_cells.value"),
        "alignment.decoder.off_diagonal",
    ),
    by="NumPy: `slogdet` and the diagonal of JᵀJ",
    tolerance=1e-9,
    test="test_alignment.py::test_all_cells_give_the_numbers_of_the_dense_jacobian",
)
def contrast() -> Pair:
    from latentlab.pullback.alignment import ima_contrast, off_diagonal_share

    factors = np.random.default_rng(0).normal(size=(4, 9, 3))
    blocks = factors.swapaxes(1, 2) @ factors
    diagonal = np.diagonal(blocks, axis1=1, axis2=2)
    ima = (np.log(diagonal).sum(1) - np.linalg.slogdet(blocks)[1]).mean() / 2
    share = 1 - np.sum(diagonal**2) / np.sum(blocks**2)
    ours = [one(torch.from_numpy(blocks)).value for one in (ima_contrast, off_diagonal_share)]
    return ours, [ima, share]


@oracle(
    numbers=("alphas",),
    by="NumPy: `linspace`",
    tolerance=1e-6,
    test="test_traversal.py::test_frames_are_the_decoded_steps_in_standard_deviations",
)
def positions() -> Pair:
    return walk().alphas, np.linspace(-3, 3, 5)


@oracle(
    numbers=("components.drift", "components.drift_relative"),
    by="NumPy: ‖E(D(z)) − z‖ at both ends",
    tolerance=1e-3,
    test="test_traversal.py::test_drift_is_the_distance_to_the_reencoded_end",
)
def drift() -> Pair:
    vae = latentlab.load_vae("mini", device="cpu", dtype="float32")
    hood, pca, _ = copies()
    step = pca.components[0].view(hood.origin.values.shape) * pca.explained_variance[0] ** 0.5
    ends = torch.stack([hood.origin.values + 3 * sign * step for sign in (-1, 1)]).float()
    with torch.no_grad():
        again = vae.encode(vae.decode(ends)).mean
    apart = np.linalg.norm((again - ends).double().flatten(1).numpy(), axis=1)
    lengths = np.linalg.norm(ends.double().flatten(1).numpy(), axis=1)
    first = walk().paths[0]
    return [first.drift, first.drift_relative], [apart.mean(), apart.mean() / lengths.mean()]


@oracle(
    numbers=(
        *("components.pixel_change", "components.monotonicity", "components.flicker"),
        "components.clipped",
    ),
    by="NumPy: differences of frames; SciPy: `stats.spearmanr`",
    tolerance=1e-6,
    test="test_traversal.py::test_scores_of_unrelated_frames_and_of_a_circle",
)
def path_scores() -> Pair:
    from scipy.stats import spearmanr

    from latentlab.metrics.walks import score_path

    frames = np.random.default_rng(0).normal(size=(6, 3, 8, 8)).cumsum(0) * 0.3
    found = score_path([torch.from_numpy(one) for one in frames], 0.5)
    first, second = (np.diff(frames, k, axis=0) for k in (1, 2))

    def norms(several: Any) -> Any:
        return np.linalg.norm(several.reshape(len(several), -1), axis=1)

    theirs = [
        np.abs(first).mean() / 2 / 0.5,
        spearmanr(np.arange(6), norms(frames - frames[0])).statistic,
        norms(second).mean() / norms(first).mean(),
        np.mean(np.abs(frames) > 1 + 1 / 255),
    ]
    return [found.pixel_change, found.monotonicity, found.flicker, found.clipped], theirs


@oracle(
    numbers=("interpolate --path slerp",),
    by="SciPy: `geometric_slerp`",
    tolerance=1e-9,
    test="test_interpolation.py::test_slerp_is_scipys_on_the_sphere",
)
def slerp() -> Pair:
    from scipy.spatial import geometric_slerp

    from latentlab.linalg.slerp import slerp as ours

    a, b = (one / np.linalg.norm(one) for one in np.random.default_rng(0).normal(size=(2, 7)))
    found = [ours(torch.from_numpy(a), torch.from_numpy(b), t) for t in (0.25, 0.5)]
    return torch.stack(found), geometric_slerp(a, b, [0.25, 0.5])


@oracle(
    numbers=("random.image_change",),
    by="scikit-image: `deltaE_cie76` of `rgb2lab`",
    tolerance=1e-4,
    test="test_traversal.py::test_lab_is_that_of_scikit_image",
)
def color_difference() -> Pair:
    from skimage.color import deltaE_cie76, rgb2lab

    from latentlab.images.colors import to_lab

    a, b = np.random.default_rng(0).random((2, 6, 7, 3))
    x, y = (to_lab(torch.from_numpy(one).movedim(-1, 0)[None])[0] for one in (a, b))
    return (x - y).norm(dim=0), deltaE_cie76(rgb2lab(a), rgb2lab(b))
