"""Fixtures: a VAE whose every answer is known, and the real weights where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from linear_vae import LinearVAE, smooth_picture

from latentlab.encoder import encode
from latentlab.latents import Latent, Picture

SHARED = Path(__file__).resolve().parents[2] / "shared"
_SKIPPED_SHARED: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``shared`` where ../shared is absent."""
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason="../shared is not beside this checkout")
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(skip)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and "shared" in report.keywords:
        _SKIPPED_SHARED.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run when ../shared is there and a test that needs it was skipped all the same."""
    if SHARED.is_dir() and _SKIPPED_SHARED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        raise pytest.UsageError(f"../shared is present but skipped: {', '.join(_SKIPPED_SHARED)}")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder ../shared; mark tests that use it with ``pytest.mark.shared``."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not beside this checkout")
    return SHARED


@pytest.fixture
def linear_vae() -> LinearVAE:
    """Return a VAE whose every answer is known in closed form."""
    return LinearVAE()


@pytest.fixture
def linear_latent(linear_vae: LinearVAE) -> Latent:
    """Return the latent (6, 8, 10) of a smooth picture of 32×40 pixels."""
    return encode(linear_vae, Picture(smooth_picture(), name="smooth"))
