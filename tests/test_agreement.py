"""Agreement of finders against SciPy's angles, and chance against random spans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles

from latentlab.directions.agreement import subspace_agreement
from latentlab.errors import ShapeError, UsageError
from latentlab.latents import Latent, Neighborhood
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.recipes.starting import find_directions
from latentlab.testing.linear_vae import LinearVAE


@pytest.fixture
def hood(linear_vae: LinearVAE, linear_latent: Latent) -> Neighborhood:
    return neighborhood(linear_vae, linear_latent, "augment", n_samples=40)


def test_angles_are_scipys_and_the_overlap_their_mean_squared_cosine(
    linear_vae: LinearVAE, linear_latent: Latent, hood: Neighborhood
) -> None:
    pca = find_directions(linear_vae, linear_latent, hood, 4)
    read = find_directions(linear_vae, linear_latent, hood, 6, finder="supervised")
    found = subspace_agreement(pca, read)
    angles = subspace_angles(pca.rows.double().numpy().T, read.rows.double().numpy().T)[::-1]
    np.testing.assert_allclose(found["angles"], np.rad2deg(angles), atol=1e-4)
    assert found["overlap"] == pytest.approx(float((np.cos(angles) ** 2).mean()), rel=1e-5)
    assert found["finder"] == "supervised"
    assert found["dimensions"] == [4, 6]
    cosines = np.abs(pca.rows.double().numpy() @ read.rows.double().numpy().T)
    np.testing.assert_allclose(found["cosines"], cosines, atol=1e-6)


def test_random_spans_overlap_as_chance_says(
    linear_vae: LinearVAE, linear_latent: Latent, hood: Neighborhood
) -> None:
    pca = find_directions(linear_vae, linear_latent, hood, 4)
    overlaps = []
    for seed in range(60):
        chance = find_directions(linear_vae, linear_latent, hood, 4, finder="random", seed=seed)
        overlaps.append(subspace_agreement(pca, chance)["overlap"])
    said = subspace_agreement(pca, chance)
    assert np.mean(overlaps) == pytest.approx(said["chance"], rel=0.15)
    assert np.std(overlaps) == pytest.approx(said["chance_deviation"], rel=0.3)


def test_directions_in_other_features_or_without_rows_are_refused(
    linear_vae: LinearVAE, linear_latent: Latent, hood: Neighborhood
) -> None:
    pca = find_directions(linear_vae, linear_latent, hood, 3)
    tokens = neighborhood(linear_vae, linear_latent, "tokens")
    with pytest.raises(ShapeError, match="480 and 6 features"):
        subspace_agreement(pca, find_directions(linear_vae, linear_latent, tokens, 3))
    with pytest.raises(UsageError, match="without rows"):
        subspace_agreement(pca, replace(pca, rows=None))
    twice = replace(pca, rows=torch.cat([pca.rows, pca.rows[:1]]))
    with pytest.raises(UsageError):
        subspace_agreement(pca, twice)
