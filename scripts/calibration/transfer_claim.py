"""How often intervals over images and directions hold the mean of all of them."""

from __future__ import annotations

from functools import partial

import torch
from claims import COVERAGE, Cell, Claim, Outcome
from samples import generator_of

from latentlab.metrics.two_way import two_way_interval

SPREADS = {"images differ": (0.3, 0.05), "directions differ": (0.05, 0.3), "both": (0.2, 0.2)}


def _table(shape: tuple[int, int], spread: tuple[float, float], seed: int) -> Outcome:
    """Draw cosines of found and of 16 random directions, related over images."""
    (images, directions), (of_image, of_direction) = shape, spread
    generator = generator_of(seed)

    def normal(*sizes: int) -> torch.Tensor:
        return torch.randn(*sizes, generator=generator, dtype=torch.float64)

    common, own = of_image * normal(images, 1), of_image * normal(images, 1) / 2
    found = 0.5 + common + of_direction * normal(directions) + 0.1 * normal(images, directions)
    chance = 0.4 + common / 2 + own + 0.3 * of_direction * normal(16) + 0.1 * normal(images, 16)
    held = {}
    for name, interval, truth in (
        ("mean", two_way_interval(found), 0.5),
        ("found − random", two_way_interval(found, chance), 0.1),
    ):
        assert interval is not None
        held[name] = interval[0] <= truth <= interval[1]
    return held


CLAIM = Claim(
    name="transfer",
    says="cosine .58 (.41 to .75); found − random −.06 (−.20 to .08)",
    assumes="images and directions are samples of those that are meant, with normal effects",
    breaks="with one image, the interval is for other directions at that image",
    cells=tuple(
        Cell(
            f"{images} images, {directions} directions, {name}",
            COVERAGE,
            partial(_table, (images, directions), spread),
            runs=1000,
            within=(0.90, 0.98),
        )
        for images, directions in ((2, 5), (5, 5), (24, 8))
        for name, spread in SPREADS.items()
    ),
)
