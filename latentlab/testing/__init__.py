"""What an author of an adapter runs over it: :func:`check_vae`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentlab.registry import lazy_names

if TYPE_CHECKING:
    from latentlab.testing.checks import VAEReport as VAEReport
    from latentlab.testing.checks import check_vae as check_vae

__getattr__, __dir__ = lazy_names(__name__, {"VAEReport": "checks", "check_vae": "checks"})
