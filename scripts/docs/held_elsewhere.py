"""Numbers that are not compared while the site is built, each with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch


@dataclass(frozen=True)
class Held:
    """Numbers that another test compares with an oracle, because that takes longer or is random.

    Parameters
    ----------
    numbers : keys of the glossary or names of metrics; ``*`` stands for the rest of a key
    by : str, the oracle
    test : str, file and name
    """

    numbers: tuple[str, ...]
    by: str
    test: str


HELD = (
    Held(
        ("null.log_fit_r2_half",),
        "NumPy: noise of half as many rows; SciPy: `stats.linregress`",
        "test_verdict.py::test_fits_of_nulls_for_half_the_rows_are_those_of_noise_of_so_many",
    ),
    Held(
        ("log_fit_r2_half",),
        "SciPy: `stats.linregress` on the same halves",
        "test_intervals.py::test_the_fit_to_halves_is_scipys_on_the_same_rows",
    ),
    Held(
        ("decay.first", "decay.last"),
        "NumPy: `polyfit` over these ranks; a spectrum whose ranks held out fall short at a known one",
        "test_intervals.py::test_a_decay_is_numpys_weighted_fit_over_the_ranks_that_it_names",
    ),
    Held(
        ("decay.lower", "decay.upper"),
        "simulation: coverage and bias in the calibration",
        "test_calibration.py::test_*",
    ),
    Held(
        ("elbow.strength",),
        "slopes of a power law, which are its exponent",
        "test_verdict.py::test_local_slopes_of_a_power_law_are_its_exponent",
    ),
    Held(
        (
            *("intervals.k90.*", "intervals.population*", "intervals.cumulative_*"),
            *("additivity.shares.lower", "additivity.shares.upper"),
            *("controls.additivity.lower", "controls.additivity.upper"),
            *("controls.effective_dimension.lower", "controls.effective_dimension.upper"),
        ),
        "simulation: coverage in the calibration; NumPy for the rows left out",
        "test_intervals.py::test_the_variance_of_rows_left_out_is_that_of_numpy",
    ),
    Held(
        ("additivity.shares.half", "controls.additivity.half", "controls.effective_dimension.half"),
        "the same numbers of either half of the samples",
        "test_factor_model.py::test_half_is_the_share_of_either_half_by_itself",
    ),
    Held(
        ("null.curve_lower", "null.curve_upper", "null.p_of_curve"),
        "simulation: false alarms in the calibration",
        "test_nulls_stationary.py::test_stationary_fields_seldom_exceed_their_own_null",
    ),
    Held(
        ("baseline_strength", "factors.random", "labels.baseline"),
        "the mean variance of a feature; SciPy's correlations of random directions",
        "test_finders.py::test_random_directions_have_the_mean_variance_of_a_feature",
    ),
    Held(
        ("matvecs",),
        "a count of the rows that are multiplied with the Jacobian",
        "test_finders.py::test_matvecs_are_the_rows_that_were_multiplied_in_the_search",
    ),
    Held(
        ("residuals",),
        "a dense Jacobian",
        "test_pullback.py::test_values_are_those_of_the_dense_jacobian",
    ),
    Held(
        ("alignment.decoder.between_cells",),
        "NumPy: the blocks of a dense Jacobian",
        "test_alignment.py::test_all_cells_give_the_numbers_of_the_dense_jacobian",
    ),
    Held(
        ("alignment.*.rotated", "alignment.*.p"),
        "simulation: false alarms in the calibration",
        "test_alignment.py::test_channels_that_are_independent_mechanisms_are_told_from_rotated_ones",
    ),
    Held(
        ("labels.effect", "labels.effects", "labels.visible"),
        "the true changes of the image",
        "test_labels.py::test_effects_of_factors_are_the_true_changes_of_the_image",
    ),
    Held(
        ("labels.threshold",),
        "SciPy's null distribution of the rank correlation",
        "test_correlation.py::test_one_column_has_the_threshold_of_scipys_null",
    ),
    Held(
        ("components.turning", "components.held", "components.gains"),
        "polar coordinates, where the local frame turns by as much as the walk",
        "test_curved.py::test_the_tangent_of_polar_coordinates_leads_around_a_circle",
    ),
    Held(
        ("random.flicker*", "random.monotonicity", "random.p_of_flicker"),
        "all orders of the ranks, by brute force; simulation in the calibration",
        "test_traversal.py::test_ranks_among_random_directions_have_the_p_value_of_all_orders",
    ),
    Held(
        ("metrics.low", "metrics.high", "table.differences.low", "table.differences.high"),
        "SciPy's studentized bootstrap; simulation in the calibration",
        "test_bootstrap.py::test_the_resamples_have_scipys_studentized_distribution",
    ),
    Held(
        ("metrics.rotated", "metrics.shuffled"),
        "codes whose scores are known, rotated and shuffled",
        "test_codes.py::test_an_identity_code_is_high_and_falls_under_rotation",
    ),
    Held(
        ("non_finite_share", "latents_non_finite", "outlier_cells", "channels.dead", "worst"),
        "latents in which they were planted",
        "test_store_statistics.py::test_dead_channels_outliers_and_what_is_not_finite_are_counted",
    ),
    Held(
        ("spatial",),
        "NumPy: means of the corners",
        "test_store_statistics.py::test_merged_over_seven_uneven_shards_equals_numpy",
    ),
    Held(
        ("photos.*",),
        "scikit-learn: `PCA` of flat colors and `r2_score`; scikit-image: `block_reduce`",
        "test_palette.py::test_the_command_writes_factors_and_previews",
    ),
    Held(
        ("r2_held_out", "rank"),
        "NumPy: squared lengths inside the subspace; the linear control, where R² is 1",
        "test_palette.py::test_shares_are_of_the_total_variance",
    ),
    Held(
        ("findings.value", "findings.threshold"),
        "simulation: planted defects in the calibration",
        "test_examinations.py::test_*",
    ),
    Held(
        ("disputed.range",),
        "an independent PSNR",
        "test_comparison.py::test_the_order_is_that_of_an_independent_psnr",
    ),
    Held(
        ("models.max_abs_diff",),
        "PyTorch's images beside those of onnxruntime",
        "test_explorer_export.py::test_*",
    ),
    Held(
        ("posterior_std", "active_units", "clamped"),
        "a posterior whose variances are known",
        "test_measures_latents.py::test_posterior_metrics_of_a_known_posterior",
    ),
    Held(
        ("equivariance",),
        "means of 4×4 pixels, which move with the image",
        "test_measures_behavior.py::test_average_pooling_is_equivariant",
    ),
    Held(
        ("augmentation",),
        "NumPy: the spectrum of changed copies",
        "test_measures_behavior.py::test_the_dimension_of_changed_copies_is_numpys",
    ),
    Held(
        ("precision",),
        "PyTorch's own rounding",
        "test_measures_behavior.py::test_precision_is_pytorchs_rounding",
    ),
    Held(
        ("dimension",),
        "scikit-dimension's figures for scikit-learn's digits",
        "test_measures_behavior.py::test_dimensions_of_the_digits_are_scikit_dimensions",
    ),
    Held(
        ("locality",),
        "white noise, which has 0, and a ramp by hand",
        "test_measures_behavior.py::test_locality_of_noise_and_of_a_ramp",
    ),
    Held(
        ("lpips", "dists"),
        "the packages lpips and piq themselves, whose weights are not part of this site",
        "test_distances.py::test_perceptual_metrics_pass_images_as_their_packages_take_them",
    ),
    Held(
        ("sap",),
        "an independent implementation, to 1e-6",
        "test_disentanglement_metrics.py::test_sap_is_an_independent_implementation",
    ),
    Held(
        ("factor_vae",),
        "an independent implementation, to 1e-6",
        "test_disentanglement_metrics.py::test_factor_vae_is_an_independent_implementation",
    ),
    Held(
        ("beta_vae",),
        "an independent implementation, to 1e-6",
        "test_disentanglement_metrics.py::test_beta_vae_is_an_independent_implementation",
    ),
    Held(
        ("dci_informativeness",),
        "an independent implementation, to 1e-6",
        "test_disentanglement_metrics.py::test_dci_is_an_independent_implementation",
    ),
    Held(
        ("info_explicitness",),
        "the entropy of the classes that it reads",
        "test_codes.py::test_explicitness_is_a_share_of_the_entropy_of_the_classes_it_reads",
    ),
)

NO_RESULTS = {
    "names, titles and sentences": (
        *("title", "picture", "model", "neighborhood", "sampler", "sampler_statement", "label"),
        *("statement", "solver", "method", "space", "store", "verdict", "finder", "basis", "notes"),
        *("directions", "strength_name", "step_unit", "meanings", "labels", "unit", "models"),
        *("components_above_null_of", "components_not_counted", "nulls_left_out", "damaged"),
        *("labels.direction", "labels.factor", "labels.unit", "labels.source", "labels.text"),
        *("components.label", "components.caption", "factors.factor", "factors.direction"),
        *("agreement.finder", "findings.*", "table.metric", "table.unit", "table.better"),
        *("table.best", "table.differences.first", "table.differences.other", "metrics.note"),
        *("table.differences.better", "disputed", "disputed.path", "skipped*", "failed*"),
        *("sections", "engine", "version", "effective_dimension.method", "intervals.method"),
        *("intervals.target", "additivity.factors", "additivity.constant_factors"),
        *("additivity.shares.model", "controls.additivity.model", "scene", "left_out", "removed"),
    ),
    "settings, which come from the command line or from the files": (
        *("format", "stride", "multiple", "has_logvar", "options", "seed", "layout*", "n_samples"),
        *("n_features", "subsample*", "n_colors", "n_images", "latents", "shapes", "cells"),
        *("percentiles_of_every", "null.draws", "null.quantiles", "protocol*", "curved", "frame"),
        *("compiled",),
        *("effective_dimension.level", "intervals.level", "alignment.decoder.cells"),
        *("frame_size", "limits", "frames.alphas", "controls.n_features", "components.index"),
    ),
    "counts of what was done": (
        *("decodes", "products", "random.directions", "random.frames", "random.decodes"),
        *("alignment.decoder.products", "additivity.shares.terms", "controls.additivity.terms"),
        *("metrics.n", "table.differences.n", "comparisons", "factors.component"),
        *("agreement.dimensions", "frames.bytes"),
    ),
    "files, and objects that contain the keys below them": (
        *("files", "arrays_sha256", "webgpu"),
        *("images", "decay", "null", "elbow", "effective_dimension", "intervals"),
        *("effective_dimension.corrected", "intervals.k90", "additivity", "additivity.shares"),
        *("controls", "controls.effective_dimension", "factors", "agreement", "alignment"),
        *("alignment.channels", "alignment.decoder", "alignment.decoder.within_cells"),
        *("alignment.decoder.ima", "components", "random", "metrics", "curves", "spread", "table"),
        *("table.values", "table.differences", "findings", "models.*"),
    ),
}
"""Why a key holds no result of a computation → the keys."""


def is_named(key: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a key is among names, in which ``*`` stands for the rest."""
    return any(fnmatch(key, pattern) for pattern in patterns)
