"""Flatten and lift belong together: for every layout, and for windows anywhere."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentlab.errors import FileError, ShapeError
from latentlab.layouts import Layout, PatchLayout, TokenLayout, WholeLayout, Window, layout_from

SHAPE = (4, 6, 8)
WINDOW = Window(1, 2, 4, 5)
LAYOUTS = [WholeLayout(SHAPE, WINDOW), TokenLayout(SHAPE, WINDOW), PatchLayout(SHAPE, WINDOW, 2)]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.kind)
def test_rows_of_a_lifted_direction_are_that_direction(layout: Layout) -> None:
    direction = torch.randn(layout.n_features)
    rows = layout.flatten(layout.lift(direction)[None])
    torch.testing.assert_close(rows[0], direction)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.kind)
def test_outside_its_window_a_lifted_direction_is_zero(layout: Layout) -> None:
    lifted = layout.lift(torch.ones(layout.n_features))
    assert (WINDOW.crop(lifted) == 1).all()
    WINDOW.crop(lifted).zero_()
    assert not lifted.any()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.kind)
def test_a_description_brings_the_layout_back(layout: Layout) -> None:
    assert layout_from(layout.describe()) == layout


def test_whole_layout_is_plain_flattening_of_the_window() -> None:
    latents = torch.randn(3, *SHAPE)
    expected = latents[:, :, 1:5, 2:7].reshape(3, -1)
    torch.testing.assert_close(LAYOUTS[0].flatten(latents), expected)


def test_tokens_are_the_channels_of_each_cell_in_reading_order() -> None:
    latents = torch.randn(2, *SHAPE)
    rows = LAYOUTS[1].flatten(latents)
    torch.testing.assert_close(rows[7], latents[0, :, 1 + 7 // 5, 2 + 7 % 5])
    assert rows.shape == (2 * 20, 4)


def test_patches_are_all_positions_of_the_window() -> None:
    latents = torch.randn(1, *SHAPE)
    rows = LAYOUTS[2].flatten(latents)
    assert rows.shape == (3 * 4, 16)
    torch.testing.assert_close(rows[5], latents[0, :, 2:4, 3:5].reshape(-1))


def test_a_patch_direction_tiles_the_window() -> None:
    lifted = LAYOUTS[2].lift(torch.arange(16.0))
    torch.testing.assert_close(lifted[:, 1:3, 2:4], lifted[:, 3:5, 4:6])


@given(
    top=st.integers(-2, 8), left=st.integers(-2, 9), height=st.integers(-1, 9),
    width=st.integers(-1, 9),
)  # fmt: skip
def test_windows_outside_the_latent_are_refused(
    top: int, left: int, height: int, width: int
) -> None:
    inside = (
        top >= 0 and left >= 0 and height >= 1 and width >= 1
        and top + height <= SHAPE[1] and left + width <= SHAPE[2]
    )  # fmt: skip
    if inside:
        layout = WholeLayout(SHAPE, Window(top, left, height, width))
        assert layout.flatten(torch.zeros(1, *SHAPE)).shape == (1, layout.n_features)
    else:
        with pytest.raises(ShapeError):
            WholeLayout(SHAPE, Window(top, left, height, width))


def test_a_patch_larger_than_the_window_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"1 to 4"):
        PatchLayout(SHAPE, WINDOW, 5)


def test_lifting_another_length_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(4,\)"):
        LAYOUTS[1].lift(torch.zeros(5))


@pytest.mark.parametrize("facts", [{}, {"kind": "spiral"}, {"kind": "whole", "window": 3}])
def test_a_broken_description_is_refused(facts: dict[str, object]) -> None:
    with pytest.raises(FileError, match="pca"):
        layout_from(facts)
