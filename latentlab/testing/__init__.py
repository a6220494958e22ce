"""Contract tests for adapters and plug-ins of others, and data whose answers are known.

``check_vae``, ``check_neighborhood``, ``check_finder``, ``check_null`` and ``check_metric`` return
a :class:`Report`, in plain words. Whatever comes with latentlab passes them. A test of your own::

    def test_it_keeps_the_contract():
        report = check_finder(Waves)
        assert report.ok, str(report)

:class:`LinearVAE` is a model whose every answer is known. ``noise``, ``spikes``, ``fields``,
``rotated``, ``whole`` and ``hood_of`` make samples whose structure is planted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentlab.registry import lazy_names

if TYPE_CHECKING:
    from latentlab.testing.finders import check_finder as check_finder
    from latentlab.testing.linear_vae import LinearVAE as LinearVAE
    from latentlab.testing.linear_vae import smooth_image as smooth_image
    from latentlab.testing.metrics import check_metric as check_metric
    from latentlab.testing.neighborhoods import check_neighborhood as check_neighborhood
    from latentlab.testing.nulls import check_null as check_null
    from latentlab.testing.planted import fields as fields
    from latentlab.testing.planted import hood_of as hood_of
    from latentlab.testing.planted import noise as noise
    from latentlab.testing.planted import rotated as rotated
    from latentlab.testing.planted import spikes as spikes
    from latentlab.testing.planted import whole as whole
    from latentlab.testing.reports import Report as Report
    from latentlab.testing.vae import check_vae as check_vae

_HOMES = {
    "Report": "reports",
    "check_finder": "finders",
    "check_metric": "metrics",
    "check_neighborhood": "neighborhoods",
    "check_null": "nulls",
    "check_vae": "vae",
    **dict.fromkeys(("LinearVAE", "smooth_image"), "linear_vae"),
    **dict.fromkeys(("fields", "hood_of", "noise", "rotated", "spikes", "whole"), "planted"),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
