"""Labels on the linear VAE, where it is known what each direction changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scipy.stats import linregress, spearmanr

from latentlab.directions.amounts import STATISTICS
from latentlab.directions.base import Scene
from latentlab.directions.correlations import factor_correlations, statistic_correlations
from latentlab.directions.effects import decode_steps, factor_effects, statistic_effects
from latentlab.directions.factor_table import read_factors
from latentlab.directions.finding import directions_from_rows
from latentlab.directions.labels import label_directions, with_labels
from latentlab.encoding.encoder import encode
from latentlab.errors import UsageError
from latentlab.images.image import Image
from latentlab.latents import Directions, Latent, Neighborhood
from latentlab.loaders import load_vae
from latentlab.loaders.base import LatentVAE
from latentlab.metrics.correlation import spearman
from latentlab.metrics.image_statistics import GRAY, measure_images, turn_of_hue
from latentlab.neighborhoods.amounts import Amount
from latentlab.neighborhoods.augment import Augment
from latentlab.neighborhoods.crops import Crops
from latentlab.neighborhoods.sampling import neighborhood, resample
from latentlab.recipes.starting import find_directions
from latentlab.testing.linear_vae import LinearVAE, smooth_image


@pytest.fixture
def complete_vae() -> LinearVAE:
    """Return a VAE that keeps every image whole."""
    return LinearVAE(channels=48)


@pytest.fixture
def gray_latent(complete_vae: LinearVAE) -> Latent:
    """Return the latent of a faint image, which no change of it clips."""
    return encode(complete_vae, Image(0.3 * smooth_image(), name="faint"))


def towards(
    vae: LinearVAE, latent: Latent, *changes: torch.Tensor, step: float = 2.0
) -> Directions:
    """Return directions whose images change as given, each a (3, 32, 40), by steps so long."""
    hood = neighborhood(vae, latent, "gaussian", n_samples=50)
    rows = torch.stack([vae.encode(change[None]).mean.flatten() for change in changes])
    rows = rows / rows.norm(dim=1, keepdim=True)
    names = tuple(f"d{index}" for index in range(len(changes)))
    found = directions_from_rows(Scene(vae, latent, hood), rows, names)
    return replace(found, deviations=torch.full((len(rows),), step, dtype=torch.float64))


def test_directions_of_known_images_are_called_what_they_are(
    complete_vae: LinearVAE, gray_latent: Latent
) -> None:
    ones = torch.ones(3, 32, 40)
    ramp = torch.linspace(-1, 1, 40).expand(3, 32, 40)
    found = towards(complete_vae, gray_latent, ones, -ones, ramp)
    (alone,) = label_directions(complete_vae, gray_latent, towards(complete_vae, gray_latent, ones))
    # A step of 2 is shared by 3·32·40 values, of which white is 2 away from black.
    assert alone.effect == pytest.approx(100 * 2 / (3 * 32 * 40) ** 0.5 / 2, rel=1e-5)
    assert (alone.text, alone.unit) == ("≈ measured brightness (ρ 1.00, ±1.6 %)", "% of white")
    brighter, darker, right = label_directions(complete_vae, gray_latent, found)
    assert brighter.statistics["brightness"] > 0.5
    assert darker.statistics["brightness"] < -0.5
    assert right.statistics["x position"] > 0.9
    assert right.source == "statistic"
    assert right.is_known


def test_what_moves_nothing_is_called_nothing_known(
    complete_vae: LinearVAE, gray_latent: Latent
) -> None:
    ones, other = torch.ones(3, 32, 40), smooth_image(seed=9)
    found = towards(complete_vae, gray_latent, ones, other)
    found = replace(found, deviations=torch.tensor([2.0, 0.0], dtype=torch.float64))
    _, nothing = label_directions(complete_vae, gray_latent, found)
    assert not nothing.is_known
    assert nothing.text.startswith("no known factor (largest ρ ")
    assert nothing.factor in nothing.text


def test_labels_are_plain_words_and_facts_have_the_names_of_factors(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=40)
    found = find_directions(linear_vae, linear_latent, hood, finder="patterns")
    labels = label_directions(linear_vae, linear_latent, found, hood)
    told = {one.factor: one.text for one in labels}
    assert "horizontal shift (ρ" in told["shift_x"]
    assert "vertical shift (ρ" in told["shift_y"]
    assert {"shift_x", "shift_y"} <= set(labels[0].effects)
    assert not any("_" in one.text for one in labels)


def test_what_changes_regularly_but_invisibly_is_no_label(
    complete_vae: LinearVAE, gray_latent: Latent
) -> None:
    found = towards(complete_vae, gray_latent, torch.ones(3, 32, 40), step=0.5)
    (faint,) = label_directions(complete_vae, gray_latent, found)
    assert faint.statistics["brightness"] == pytest.approx(1)
    assert faint.effect == pytest.approx(100 * 0.5 / (3 * 32 * 40) ** 0.5 / 2, rel=1e-5)
    assert faint.effect < faint.visible
    assert faint.text == "no measured statistic changes visibly"
    assert not faint.is_known


def test_the_visible_comes_before_the_regular(complete_vae: LinearVAE, gray_latent: Latent) -> None:
    # Light that comes and goes on the right, and as regularly but hardly at all in general.
    ramp = torch.linspace(-1, 1, 40).expand(3, 32, 40)
    found = towards(complete_vae, gray_latent, ramp + 0.05)
    correlations = statistic_correlations(complete_vae, gray_latent, found)
    assert correlations.of(0)["brightness"] == pytest.approx(1)
    (one,) = label_directions(complete_vae, gray_latent, found)
    assert one.factor == "x position"
    assert one.effect > one.visible


def test_effects_are_the_changes_of_the_statistics_for_a_step(
    complete_vae: LinearVAE, gray_latent: Latent
) -> None:
    found = towards(complete_vae, gray_latent, torch.ones(3, 32, 40), smooth_image(seed=9))
    images = decode_steps(complete_vae, gray_latent, found)
    effects = statistic_effects(images, [name for name in STATISTICS if name != "hue"])
    ends = torch.stack([gray_latent.values + sign * 2 * found.vectors[0] for sign in (-1, 1)])
    low, high = (
        {name: float(value) for name, value in measure_images(image[None]).items()}
        for image in complete_vae.decode(ends)
    )
    names = [name for name in STATISTICS if name != "hue"]
    for column, (name, amount) in enumerate((name, STATISTICS[name]) for name in names):
        change = (high[name] - low[name]) / 2 * amount.scale
        if amount.relative:
            change /= (high[name] + low[name]) / 2
        assert float(effects[0, column]) == pytest.approx(change, abs=1e-5)


def rendered(vae: LatentVAE, latent: Latent, changes: list[tuple[str, float]]) -> Directions:
    """Return directions, one step along which is half the change of the image by ± this value."""
    rows = []
    for name, value in changes:
        center, (low, high) = 0.5 * sum(Augment().ranges()[name]), (-value, value)
        values = torch.tensor([center + low, center + high])
        values = values.exp() if Augment.amounts[name].gain else values
        first, last = vae.encode(Augment().render(latent, {name: values})).mean
        rows.append(((last - first) / 2).flatten())
    matrix = torch.stack(rows)
    lengths = matrix.norm(dim=1)
    scene = Scene(vae, latent, neighborhood(vae, latent, "augment", n_samples=4))
    found = directions_from_rows(scene, matrix / lengths[:, None], tuple(map(str, changes)))
    return replace(found, deviations=lengths.double())


def test_effects_of_factors_are_the_true_changes_of_the_image() -> None:
    vae = load_vae("mini")
    latent = encode(vae, "sample:china", size=96)
    hood = neighborhood(vae, latent, "augment", n_samples=4)
    ranges = Augment().ranges()
    changes = [
        (name, share * (high - low) / 2)
        for name, (low, high) in ranges.items()
        for share in (0.1, 0.4, 1.0)
    ]
    found = rendered(vae, latent, changes)
    effects = factor_effects(vae, latent, decode_steps(vae, latent, found), hood, [*hood.factors])
    for k, (name, value) in enumerate(changes):
        true = Augment.amounts[name].scale * value
        assert float(effects[k, [*hood.factors].index(name)]) == pytest.approx(true, rel=0.2), name


def test_a_step_along_a_pattern_changes_its_factor_and_one_along_weights_hardly(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=60)
    angle = hood.factors["rotation"].double()
    effects, slopes = {}, {}
    for finder in ("patterns", "supervised"):
        found = find_directions(linear_vae, linear_latent, hood, finder=finder)
        column = found.labels.index("rotation")
        images = decode_steps(linear_vae, linear_latent, found)
        turned = factor_effects(linear_vae, linear_latent, images, hood, ["rotation"])
        effects[finder] = float(turned[column, 0])
        scores = hood.samples.double() @ found.rows.double().T
        slopes[finder] = linregress(scores[:, column], angle).slope * float(
            found.deviations[column]
        )
    # A regression of the angle on the score says that a step along the weights turns the image by
    # nearly one deviation of the angle.
    assert slopes["supervised"] > 1.5
    assert 0 < effects["supervised"] < 0.5 * slopes["supervised"]
    assert effects["patterns"] > 2 * effects["supervised"]


def test_without_a_visible_change_a_direction_only_reads_its_factor(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=60)
    found = find_directions(linear_vae, linear_latent, hood, finder="supervised")
    faint = replace(found, deviations=found.deviations * 1e-3)
    labels = label_directions(linear_vae, linear_latent, faint, resample(linear_vae, hood))
    assert not any(one.is_known for one in labels)
    assert all(one.text.startswith("reads ") for one in labels if one.direction == one.factor)
    assert any(one.direction == one.factor for one in labels)


def test_a_gray_image_has_no_hue_and_no_effect_on_it(complete_vae: LinearVAE) -> None:
    from latentlab.images.colors import RGB_TO_YIQ

    light = 0.5 * smooth_image()[:1].expand(3, 32, 40).contiguous()
    red = torch.zeros(3, 1, 1)
    red[0] = 0.008  # one level of 255
    latent = encode(complete_vae, Image(light, name="gray"))
    found = towards(complete_vae, latent, torch.ones(3, 32, 40), red.expand(3, 32, 40))
    found = replace(found, deviations=found.deviations * 0 + 0.008 * (32 * 40) ** 0.5)
    labels = label_directions(complete_vae, latent, found)
    assert "hue" not in labels[0].statistics
    hood = neighborhood(complete_vae, latent, "augment", n_samples=4)
    images = decode_steps(complete_vae, latent, found)
    effects = factor_effects(complete_vae, latent, images, hood, [*hood.factors])
    assert effects[:, [*hood.factors].index("hue")].isnan().all()
    # An image just above the floor: one level turns it by no more than the smallest visible turn.
    to_rgb = torch.tensor(RGB_TO_YIQ).inverse()
    faint = light + 2 * (to_rgb @ torch.tensor([0.0, 0.0, GRAY * 1.01]))[:, None, None]
    turn = turn_of_hue((faint + red)[None], faint)
    assert abs(float(turn)) < STATISTICS["hue"].visible


@pytest.mark.slow
@pytest.mark.parametrize("finder", ["pca", "supervised"])
def test_shuffled_factors_give_a_label_in_one_of_twenty_runs(
    finder: str, linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=60)
    fresh = resample(linear_vae, hood)
    assert fresh is not None
    found = find_directions(linear_vae, linear_latent, hood, 8, finder=finder)
    generator, false = torch.Generator().manual_seed(0), 0
    for seed in range(60):
        order = torch.randperm(64, generator=generator)
        mixed = {name: values[order] for name, values in fresh.factors.items()}
        shuffled = replace(fresh, sampling=replace(fresh.sampling, factors=mixed))
        correlations = factor_correlations(found, shuffled, seed=seed)
        ranked = [one for k in range(8) for one in correlations.ranked(k)]
        false += any(correlations.is_above_chance(one) for one in ranked)
    assert false <= 7  # 3 expected; per direction, it would be about 20


def test_all_that_is_measured_or_varied_has_a_just_visible_amount(linear_latent: Latent) -> None:
    measured = measure_images(torch.zeros(1, 3, 8, 8))
    assert measured.keys() == STATISTICS.keys()
    varied = Augment().draw_factors(2, torch.Generator())
    assert Augment.amounts.keys() == varied.keys()
    amounts = [*STATISTICS.values(), *Augment.amounts.values(), *Crops.amounts.values()]
    assert all(amount.visible > 0 and amount.unit for amount in amounts)
    assert Amount().visible == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_random_directions_on_the_built_in_model_get_no_label(seed: int) -> None:
    vae = load_vae("mini")
    latent = encode(vae, "sample:flower", size=96)
    hood = neighborhood(vae, latent, "augment", n_samples=24, seed=seed)
    chance = find_directions(vae, latent, hood, 2, finder="random", seed=seed)
    assert [one.is_known for one in label_directions(vae, latent, chance, seed=seed)] == [
        False,
        False,
    ]


def test_the_brightness_component_of_the_built_in_model_keeps_its_label() -> None:
    vae = load_vae("mini")
    latent = encode(vae, "sample:flower", size=96)
    others = ("shift", "rotation", "zoom", "contrast", "saturation", "hue", "blur")
    hood = neighborhood(vae, latent, "augment", n_samples=16, **dict.fromkeys(others, 0.0))
    found = find_directions(vae, latent, hood, 1)
    (varied,) = label_directions(vae, latent, found, resample(vae, hood, 16))
    assert varied.text.startswith("≈ brightness (ρ ")
    assert varied.effect is not None
    assert abs(varied.effect) == pytest.approx(13, abs=4)  # ln 1.25 / √3 = 12.9 %
    (measured,) = label_directions(vae, latent, found)
    assert measured.is_known
    assert abs(measured.statistics["brightness"]) > 0.95


def test_factors_of_held_out_samples_are_correlated_as_scipy_would(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=40, seed=5)
    fresh = resample(linear_vae, hood, 64)
    again = neighborhood(linear_vae, linear_latent, "augment", n_samples=64, seed=6)
    assert fresh is not None
    assert torch.equal(fresh.samples, again.samples)
    found = find_directions(linear_vae, linear_latent, hood, 3)
    correlations = factor_correlations(found, fresh)
    scores = (again.samples.double() @ found.rows.double().T).numpy()
    for k in range(3):
        for name, value in correlations.of(k).items():
            expected = spearmanr(scores[:, k], again.factors[name].numpy()).statistic
            assert value == pytest.approx(expected, abs=1e-9)
    assert 0.3 < correlations.threshold < 0.45
    # Random directions that are drawn have the quantiles that the Gram matrix says.
    assert correlations.random is not None
    rows = torch.randn(2000, again.n_features, generator=torch.Generator().manual_seed(1))
    projected = again.samples.double() @ rows.double().T
    factors = torch.stack([again.factors[name] for name in correlations.amounts], 1)
    drawn = spearman(projected, factors).abs().quantile(0.95, dim=0)
    torch.testing.assert_close(correlations.random, drawn, atol=0.04, rtol=0)


def test_known_factors_come_before_statistics_and_say_where_they_are_from(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=60)
    found = find_directions(linear_vae, linear_latent, hood, finder="supervised")
    labels = label_directions(linear_vae, linear_latent, found, resample(linear_vae, hood))
    best = labels[0]
    assert best.source == "factor"
    rho = f"{best.rho:.2f}".replace("0.", ".")
    assert best.effect is not None
    size = Augment.amounts[best.factor].write(best.effect)
    assert best.text == f"reads {best.factor} (ρ {rho}, {size})"
    assert best.factors.keys() == hood.factors.keys()
    assert "sharpness" in best.statistics
    facts = best.describe()
    assert {"direction", "factor", "rho", "effect", "unit", "visible", "source"} <= facts.keys()
    assert {"threshold", "baseline"} <= facts.keys()
    meant = with_labels(found, labels)
    assert meant.captions[0].splitlines() == [
        best.direction,
        f"|Spearman| {float(found.strengths[0]):.3g}",
        best.text,
    ]


def test_finders_that_look_at_no_samples_are_named_by_what_the_image_shows(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=40)
    fresh = resample(linear_vae, hood)
    for finder in ("random", "jacobian"):
        found = find_directions(linear_vae, linear_latent, hood, 3, finder=finder)
        labels = label_directions(linear_vae, linear_latent, found, fresh)
        assert {one.source for one in labels} == {"statistic"}
        assert labels[0].factors.keys() == hood.factors.keys()


def test_no_label_is_weaker_than_random_directions(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=40)
    found = find_directions(linear_vae, linear_latent, hood, 20)
    labels = label_directions(linear_vae, linear_latent, found, resample(linear_vae, hood))
    known = [one for one in labels if one.source == "factor" and one.is_known]
    assert known
    assert all(abs(one.rho) > (one.baseline or 0) > 0 for one in known)


@pytest.mark.parametrize("name", ["tokens", "gaussian", "posterior"])
def test_neighborhoods_without_factors_have_no_held_out_samples(
    name: str, linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, name, n_samples=20)
    assert resample(linear_vae, hood) is None


def test_samples_that_are_not_drawn_at_random_are_not_held_out(
    linear_vae: LinearVAE, linear_latent: Latent, tmp_path
) -> None:
    from PIL import Image as Pillow

    from latentlab.images.arrays import to_uint8

    frames = [Pillow.fromarray(to_uint8(smooth_image(seed=seed)).numpy()) for seed in range(6)]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:])
    video = str(tmp_path / "clip.gif")
    hood = neighborhood(linear_vae, linear_latent, "frames", video=video)
    assert hood.factors
    assert resample(linear_vae, hood) is None


def test_regions_keep_their_region_when_held_out(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(
        linear_vae, linear_latent, "augment", n_samples=20, region=(0, 0, 16, 16), rotation=9.0
    )
    fresh = resample(linear_vae, hood, 12)
    assert fresh is not None
    assert fresh.layout == hood.layout
    assert fresh.sampling.options == hood.sampling.options


def test_hues_do_not_jump_at_half_a_turn(complete_vae: LinearVAE) -> None:
    # An image whose hue is 180°: its copies lie on both sides of the jump.
    from latentlab.images.colors import RGB_TO_YIQ

    to_rgb = torch.tensor(RGB_TO_YIQ).inverse()
    cyan, turned = (to_rgb @ torch.tensor(yiq) for yiq in ((0.5, -0.2, 0.0), (0.0, 0.0, 1.0)))
    flat = (cyan * 2 - 1)[:, None, None].expand(3, 32, 40)
    latent = encode(complete_vae, Image(flat.contiguous(), name="cyan"))
    found = towards(complete_vae, latent, turned[:, None, None].expand(3, 32, 40))
    found = replace(found, deviations=torch.tensor([0.5]))
    correlations = statistic_correlations(complete_vae, latent, found)
    assert correlations.of(0)["hue"] == pytest.approx(-1)


def test_too_few_samples_and_foreign_directions_are_refused(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=20)
    found = find_directions(linear_vae, linear_latent, hood, 2)
    with pytest.raises(UsageError, match="at least 8"):
        label_directions(linear_vae, linear_latent, found, n_samples=4)
    tokens = neighborhood(linear_vae, linear_latent, "tokens")
    with pytest.raises(UsageError, match="in this neighborhood's features"):
        factor_correlations(
            found,
            replace(tokens, sampling=replace(tokens.sampling, factors=hood.factors)),
        )


def test_the_table_of_factors_has_the_best_component_and_the_best_random_direction(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=60)
    fresh = resample(linear_vae, hood, 64)
    assert isinstance(fresh, Neighborhood)
    found = find_directions(linear_vae, linear_latent, hood, 2, finder="supervised")
    table = {row["factor"]: row for row in read_factors(found, hood, fresh)}
    assert table.keys() == hood.factors.keys()
    components = find_directions(linear_vae, linear_latent, hood, 59).rows.double()
    scores = fresh.samples.double() @ components.T
    for name, row in table.items():
        rho = [abs(spearmanr(column, fresh.factors[name]).statistic) for column in scores.T.numpy()]
        assert row["pca"] == pytest.approx(max(rho), abs=1e-6)
        assert row["component"] == rho.index(max(rho)) + 1
        assert 0 < row["random"] < 1
    own = found.labels[0]
    assert table[own]["direction"] == own
