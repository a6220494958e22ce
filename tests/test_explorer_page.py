"""The explorer in a real browser: what it shows, how it follows a hand, and what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from axe import axe_source
from explorer_client import png_of
from webdriver import Browser

import latentlab
from latentlab.explorer.opening import Explorer, explore
from latentlab.explorer.state import State, latent_of
from latentlab.images.arrays import to_uint8

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LOADED = "while (!window.latentlab) await new Promise((go) => setTimeout(go, 20));"
SETTLE = """
    await new Promise((go) => setTimeout(go, 30));
    while (!latentlab.viewer.settled) await new Promise((go) => setTimeout(go, 10));
"""
FITTED = """
    const ended = performance.now() + 60000;
    for (;;) {
        const scene = latentlab.scene();
        if (scene.fits.length && (scene.fits[0].complete || !arguments[0])) return scene.fits[0];
        if (performance.now() > ended) throw new Error('no directions in time');
        await new Promise((go) => setTimeout(go, 30));
    }
"""
MOVE = "latentlab.state.set(arguments[0]);" + SETTLE
FITTED_AS = """
    while (latentlab.scene().fits[0]?.plan.neighborhood !== arguments[0]) {
        await new Promise((go) => setTimeout(go, 30));
    }
    return latentlab.scene().fits[0];
"""
TEXT = "return document.getElementById(arguments[0]).textContent;"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser for all tests of this file."""
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def explorer() -> Iterator[Explorer]:
    """Return a running explorer of a model that is fast and known in closed form."""
    how: dict[str, Any] = {"neighborhood": "tokens", "size": 64, "port": 0, "browser": False}
    with explore(latentlab.load_vae("linear"), "sample:flower", **how) as running:
        yield running


def open_page(browser: Browser, address: str, hash_: str = "") -> Browser:
    browser.resize(1280, 900)
    browser.prefer(color_scheme="light", reduced_motion="no-preference")
    browser.visit(address + hash_)
    browser.run(LOADED + "await window.latentlab.ready;")
    browser.run(FITTED, False)
    browser.run(SETTLE)
    return browser


@pytest.fixture
def opened(browser: Browser, explorer: Explorer) -> Browser:
    """Return the browser with the page freshly loaded, once directions are there."""
    return open_page(browser, explorer.address)


def expected_pixels(alphas: tuple[float, ...]) -> np.ndarray:
    """Return what Python decodes for the same state."""
    vae = latentlab.load_vae("linear")
    z = latentlab.encode(vae, "sample:flower", size=64)
    found = latentlab.find_directions(vae, z, latentlab.neighborhood(vae, z, "tokens"))
    latent = latent_of(State(alphas), z.values, found)
    return to_uint8(latentlab.decode(vae, latent)).numpy().astype(int)


def test_it_loads_without_errors_and_asks_no_other_host(
    browser: Browser, explorer: Explorer
) -> None:
    open_page(browser, explorer.address)
    browser.run(SETTLE)
    root = explorer.address.rstrip("/")
    hosts = (root, root.replace("http", "ws"), "data:", "blob:")
    requests = browser.requests()
    assert len(requests) > 5
    assert all(url.startswith(hosts) for url in requests), requests
    assert browser.logs("browser") == []
    assert browser.run("return document.getElementById('app').hidden") is False


def test_sliders_show_what_python_decodes(opened: Browser) -> None:
    opened.run(MOVE, {"alphas": [1.5, 0, -2]})
    np.testing.assert_array_equal(opened.canvas(".now canvas"), expected_pixels((1.5, 0, -2)))


def test_a_slider_is_moved_by_hand_and_reset_by_key_and_double_click(opened: Browser) -> None:
    before = opened.canvas(".now canvas")
    opened.press("#direction-0", "\ue014" * 8)  # arrow right
    opened.run(SETTLE)
    assert opened.run("return latentlab.state.alphas[0]") == pytest.approx(0.4)
    assert opened.run("return document.querySelector('.row output').textContent") == "+0.40 σ"
    after = opened.canvas(".now canvas")
    assert np.abs(after - before).max() > 2
    opened.press("#direction-0", "0")
    opened.run(SETTLE)
    assert opened.run("return latentlab.state.alphas[0]") == 0
    np.testing.assert_array_equal(opened.canvas(".now canvas"), before)
    opened.press("#direction-1", "\ue012")  # arrow left
    assert opened.run("return latentlab.state.atStart") is False
    opened.run("document.getElementById('direction-1').dispatchEvent(new MouseEvent('dblclick'));")
    assert opened.run("return latentlab.state.atStart") is True


def test_the_map_of_changes_is_the_difference_from_the_start(opened: Browser) -> None:
    opened.run(MOVE, {"alphas": []})
    opened.run(MOVE, {"alphas": [3]})
    change = np.abs(expected_pixels((3,)) - expected_pixels(())).mean() / 255
    told = opened.run("return document.querySelector('.view .told').textContent")
    assert float(told.split()[1]) == pytest.approx(100 * change, rel=5e-3)


def test_randomness_reset_and_what_is_said_of_them(opened: Browser) -> None:
    opened.click("#random")
    assert opened.run("return latentlab.state.atStart") is False
    assert opened.run(TEXT, "status") == "Random steps along the first 4 directions"
    opened.click("#reset")
    assert opened.run("return latentlab.state.atStart") is True
    assert opened.run(TEXT, "status") == "Back at the start"


def test_a_slider_is_described_for_those_who_do_not_see_it(opened: Browser) -> None:
    opened.run(MOVE, {"alphas": [-1.25]})
    row = opened.run(
        "const input = document.getElementById('direction-0');"
        "const facts = document.getElementById(input.getAttribute('aria-describedby'));"
        "return [input.labels[0].textContent, input.ariaValueText, facts.textContent,"
        "        facts.querySelector('[role=img]').ariaLabel]"
    )
    assert row[:2] == ["PC 1", "\N{MINUS SIGN}1.25 σ"]
    assert "of variance" in row[2]
    assert re.search(r"\.\d\d found again \(chance \.\d\d\)", row[2])
    assert "× random" in row[3]


# Links and code


def test_a_link_restores_the_state(browser: Browser, explorer: Explorer) -> None:
    open_page(browser, explorer.address)
    stroke = {"direction": 1, "amount": 2, "radius": 0.25, "points": [[0.25, 0.5], [0.5, 0.5]]}
    browser.run(MOVE, {"alphas": [1, 0, -2.5], "strokes": [stroke]})
    before = browser.canvas(".now canvas")
    browser.click("#link")
    hash_ = browser.run("return location.hash")
    assert "a=1,0,-2.5" in hash_
    assert browser.run(TEXT, "status") in ("Link copied", "The link is in the address bar")
    open_page(browser, explorer.address, hash_)
    browser.run(SETTLE)
    assert browser.run("return latentlab.state.alphas") == [1, 0, -2.5]
    np.testing.assert_array_equal(browser.canvas(".now canvas"), before)


def test_a_link_searches_again_where_it_has_another_plan(
    browser: Browser, explorer: Explorer
) -> None:
    open_page(browser, explorer.address, "#a=2&k=gaussian&f=random&n=12&s=5&o=radius:0.3")
    fit = browser.run(FITTED_AS, "gaussian")
    assert fit["plan"] == {
        "neighborhood": "gaussian",
        "finder": "random",
        "n_samples": 12,
        "seed": 5,
        "region": None,
        "settings": {"radius": 0.3},
    }
    browser.run(SETTLE)
    assert browser.run("return latentlab.state.alphas") == [2]
    assert browser.run("return document.getElementById('neighborhood').value") == "gaussian"


@pytest.mark.parametrize(
    "hash_", ["#a=x,1", "#a=&p=;;&b=7", "#p=1,2", "#%", "#k=tokens", "#b=NaN&a=1e999"]
)
def test_links_that_make_no_sense_change_nothing(
    browser: Browser, explorer: Explorer, hash_: str
) -> None:
    open_page(browser, explorer.address, hash_)
    assert browser.run("return latentlab.state.atStart") is True
    assert browser.logs("browser") == []


def test_the_link_of_another_image_is_explained(browser: Browser, explorer: Explorer) -> None:
    open_page(browser, explorer.address, "#image=000000000000&a=2")
    assert "belongs to another image" in browser.run(TEXT, "status")
    assert browser.run("return latentlab.state.atStart") is True


def test_the_python_is_shown(opened: Browser) -> None:
    opened.run(MOVE, {"alphas": [0, 1]})
    opened.click("#code")
    opened.run("while (!document.getElementById('code-text').textContent)"
               " await new Promise((go) => setTimeout(go, 20));")  # fmt: skip
    code = opened.run(TEXT, "code-text")
    assert "latentlab.encode(vae, 'sample:flower', size=64)" in code
    assert "1.0 * float(found.step_lengths[1]) * found.vectors[1]" in code


# Other images


# Drops a file of these bytes and this type onto the page, as a hand would.
DROP = """
    const [bytes, name, type] = arguments;
    const file = new File([new Uint8Array(bytes)], name, {type});
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(file);
    for (const kind of ['dragover', 'drop']) {
        document.body.dispatchEvent(
            new DragEvent(kind, {dataTransfer, bubbles: true, cancelable: true}));
    }
"""
NAMED = """
    while (latentlab.scene().image.name !== arguments[0] || !latentlab.scene().fits.length) {
        await new Promise((go) => setTimeout(go, 30));
    }
"""


def test_an_image_that_is_dropped_is_explored(opened: Browser) -> None:
    opened.run(MOVE, {"alphas": [2]})
    image = np.random.default_rng(0).integers(0, 256, (72, 96, 3))
    opened.run(DROP, list(png_of(image)), "noise.png", "image/png")
    opened.run(NAMED, "noise")
    opened.run(SETTLE)
    assert opened.run(TEXT, "headline") == "noise in linear"
    assert opened.run("return latentlab.state.atStart") is True
    fitted = latentlab.encode(latentlab.load_vae("linear"), image.astype(np.uint8), size=64).image
    assert fitted is not None
    wanted = to_uint8(fitted.pixels).numpy()
    np.testing.assert_array_equal(opened.canvas(".originals canvas"), wanted)
    assert opened.canvas(".now canvas").shape == (64, 64, 3)
    opened.click("#restart")
    opened.run(NAMED, "flower")
    assert opened.run("return document.getElementById('restart').hidden") is True


def test_an_image_of_another_height_has_its_own_overlay(opened: Browser) -> None:
    shown = """
        const scene = latentlab.scene();
        const [model] = scene.models;
        latentlab.engine.tell('scene', {...scene, models: [{...model, size: [64, 32]}]});
        const {width, height} = document.querySelector('.overlay');
        return [width, height];
    """
    assert opened.run(shown) == [128, 64]


def test_what_is_no_image_is_refused_in_plain_words(opened: Browser) -> None:
    opened.run(DROP, [1, 2, 3], "notes.txt", "text/plain")
    assert opened.run(TEXT, "status") == ("notes.txt is no image. Choose a PNG, JPEG or WebP file.")
    opened.run(DROP, [1, 2, 3], "broken.png", "image/png")
    opened.run("while (!document.querySelector('.status.problem')?.textContent.startsWith('Got'))"
               " await new Promise((go) => setTimeout(go, 20));")  # fmt: skip
    assert "broken, which is no image" in opened.run(TEXT, "status")
    opened.run("latentlab.engine.limits.imageBytes = 2;")
    opened.run(DROP, [1, 2, 3], "huge.png", "image/png")
    assert "at most 0.0 MB can be sent" in opened.run(TEXT, "status")
    opened.run(MOVE, {"alphas": [1]})


def test_another_image_is_blended_with(opened: Browser) -> None:
    gray = np.full((64, 64, 3), 90)
    opened.run("await latentlab.engine.image(new File([new Uint8Array(arguments[0])], 'gray.png',"
               "{type: 'image/png'}), 'other');"
               "while (!latentlab.scene().other) await new Promise((go) => setTimeout(go, 20));",
               list(png_of(gray)))  # fmt: skip
    assert opened.run("return document.getElementById('blend').checkVisibility()") is True
    opened.run(MOVE, {"blend": 1})
    assert np.abs(opened.canvas(".now canvas") - 90).max() <= 2


# Search, region and brush


def test_another_search_shows_its_progress_and_can_be_canceled(opened: Browser) -> None:
    before = opened.run("return latentlab.scene().fits[0].plan")
    opened.run("document.getElementById('neighborhood').value = 'augment';"
               "document.getElementById('samples').value = 4000;"
               "document.querySelector('#setup button').click();"
               "while (!/of 4000/.test(document.getElementById('working-what').textContent))"
               " await new Promise((go) => setTimeout(go, 10));")  # fmt: skip
    assert opened.run("return document.getElementById('working').checkVisibility()") is True
    opened.click("#cancel")
    opened.run("while (!document.getElementById('working').hidden)"
               " await new Promise((go) => setTimeout(go, 10));")  # fmt: skip
    assert opened.run(TEXT, "status") == "Canceled"
    assert opened.run("return latentlab.scene().fits[0].plan") == before
    opened.run(MOVE, {"alphas": [1]})


def test_settings_are_numbers_on_the_page_and_what_is_missing_says_why(opened: Browser) -> None:
    disabled = "return [...document.querySelectorAll('#setup option:disabled')].map((o) => o.value)"
    assert opened.run(disabled) == ["frames", "knn", "difference"]
    assert "knn needs a folder of images" in opened.run(TEXT, "neighborhood-missing")
    assert "second image" in opened.run(TEXT, "finder-missing")
    opened.run("await latentlab.engine.image(new File([new Uint8Array(arguments[0])], 'gray.png',"
               "{type: 'image/png'}), 'other');"
               "while (!latentlab.scene().other) await new Promise((go) => setTimeout(go, 20));",
               list(png_of(np.full((64, 64, 3), 90))))  # fmt: skip
    assert opened.run(disabled) == ["frames", "knn"]
    fit = opened.run(
        "const select = document.getElementById('neighborhood');"
        "select.value = 'gaussian'; select.dispatchEvent(new Event('change'));"
        "document.querySelector('.settings').open = true;"
        "document.getElementById('setting-radius').value = '0.5';"
        "document.getElementById('finder').value = 'difference';"
        "document.getElementById('samples').value = 12;"
        "document.querySelector('#setup button').click();" + FITTED_AS,
        "gaussian",
    )
    assert fit["plan"]["settings"] == {"radius": 0.5}
    assert [one["label"] for one in fit["directions"]] == ["flower → gray"]
    opened.click("#link")
    assert "o=radius:0.5" in opened.run("return location.hash")
    assert opened.run("return document.getElementById('setting-radius').value") == "0.5"
    assert opened.logs("browser") == []


def drag(browser: Browser, selector: str, *places: tuple[float, float]) -> None:
    """Press at the first place of an element, move over the others, and let go."""
    box = browser.run(
        "const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'center'});"
        "const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]",
        selector,
    )
    points = [(box[0] + x * box[2], box[1] + y * box[3]) for x, y in places]
    kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1)]
    how: dict[str, Any] = {"button": "left", "clickCount": 1}
    for kind, (x, y) in zip(kinds, points, strict=True):
        browser.cdp("Input.dispatchMouseEvent", type=kind, x=x, y=y, buttons=1, **how)
    x, y = points[-1]
    browser.cdp("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, **how)


def test_the_brush_moves_what_it_touches_and_no_more(opened: Browser) -> None:
    before = opened.canvas(".now canvas")
    opened.click("#tools button:nth-child(2)")
    drag(opened, ".overlay", (0.2, 0.2), (0.25, 0.2), (0.3, 0.25))
    opened.run(SETTLE)
    (stroke,) = opened.run("return latentlab.state.strokes")
    assert stroke["points"][0] == pytest.approx([0.2, 0.2], abs=0.01)
    changed = np.abs(opened.canvas(".now canvas") - before).max(2)
    assert changed[:24, :24].max() > 5
    assert changed[40:, 40:].max() == 0
    opened.run("[...document.querySelectorAll('.brush button')][0].click();" + SETTLE)
    np.testing.assert_array_equal(opened.canvas(".now canvas"), before)
    opened.press(".overlay", "\ue014 ")  # arrow right, then space
    assert len(opened.run("return latentlab.state.strokes")) == 1


def test_a_region_restricts_the_search(opened: Browser) -> None:
    opened.click("#tools button:nth-child(3)")
    drag(opened, ".overlay", (0.05, 0.05), (0.3, 0.3), (0.45, 0.45))
    opened.click("#tool-options .primary")
    fit = opened.run(
        "while (!latentlab.scene().fits[0]?.plan.region)"
        " await new Promise((go) => setTimeout(go, 20)); return latentlab.scene().fits[0]"
    )
    assert fit["plan"]["region"] == [0, 0, 32, 32]
    assert fit["n_samples"] == 16
    assert "32 × 32 pixels from 0, 0" in opened.run(TEXT, "setup")


def test_a_region_is_drawn_with_keys_and_stays_while_more_is_found(opened: Browser) -> None:
    opened.click("#tools button:nth-child(3)")
    opened.press(".overlay", "\ue012" * 10 + " " + "\ue013" * 6 + "\ue014" * 6 + " ")
    told = "return document.querySelector('#tool-options .help').textContent"
    shown = opened.run(told)
    assert "16 × 16 pixels" in shown  # from the middle, 0.3 to 0.42 across and 0.5 to 0.38 down
    opened.run("latentlab.engine.tell('scene', {...latentlab.scene()});")
    assert opened.run(told) == shown


def test_long_strokes_are_short_messages(opened: Browser) -> None:
    opened.click("#tools button:nth-child(2)")
    drag(opened, ".overlay", (0.2, 0.2), (0.28137, 0.21113))
    (stroke,) = opened.run("return latentlab.state.strokes")
    assert all(round(value, 3) == value for point in stroke["points"] for value in point)


def test_a_frame_that_comes_after_reset_is_not_taken_for_the_start(opened: Browser) -> None:
    opened.run(MOVE, {"alphas": [0]})
    told = "return document.querySelector('.view .told').textContent"
    # The frame of the first state comes while the second is asked for; the third overtakes that.
    late = """
        const {engine, state, viewer} = latentlab;
        const show = engine.show.bind(engine);
        const first = await show({alphas: [4], strokes: [], blend: 0});
        state.set({alphas: [0]});
        engine.tell('frame', {...first, id: 1e6});
        await new Promise((go) => setTimeout(go, 500));
        engine.tell('frame', {...first, id: 1e6 + 1});
    """
    opened.run(late)
    assert opened.run(told).startswith("mean")


def test_a_link_in_an_open_page_restores_all_of_the_state(opened: Browser) -> None:
    opened.run(MOVE, {"alphas": [1, 2], "strokes": [{"direction": 0, "amount": 1, "radius": 0.2,
               "points": [[0.5, 0.5]]}]})  # fmt: skip
    image = opened.run("return latentlab.scene().image.sha256.slice(0, 12)")
    go = "location.hash = arguments[0]; await new Promise((go) => setTimeout(go, 50));"
    opened.run(go + SETTLE, f"#image={image}&a=0,3&b=0.5")
    assert opened.run("return latentlab.state.shown") == {
        "alphas": [0, 3], "strokes": [], "blend": 0.5
    }  # fmt: skip
    assert "blends with another image" in opened.run(TEXT, "status")


def test_strokes_of_a_link_are_such_as_engines_take(browser: Browser, explorer: Explorer) -> None:
    open_page(browser, explorer.address, "#p=0,99,0.2,500,500")
    assert browser.run("return latentlab.state.strokes")[0]["amount"] == 12


def test_after_a_search_that_fails_the_address_follows_again(
    browser: Browser, explorer: Explorer
) -> None:
    open_page(browser, explorer.address, "#a=1&k=nonsense&f=pca")
    browser.run("while (!/nonsense/.test(document.getElementById('status').textContent))"
                " await new Promise((go) => setTimeout(go, 20));")  # fmt: skip
    browser.run(MOVE, {"alphas": [2]})
    browser.run("await new Promise((go) => setTimeout(go, 600));")
    assert "a=2" in browser.run("return location.hash")


def test_a_second_image_to_blend_with_is_shown_at_once(opened: Browser) -> None:
    send = ("await latentlab.engine.image(new File([new Uint8Array(arguments[0])], arguments[1],"
            "{type: 'image/png'}), 'other');"
            "while (latentlab.scene().other?.name !== arguments[1])"
            " await new Promise((go) => setTimeout(go, 20));")  # fmt: skip
    opened.run(send, list(png_of(np.full((64, 64, 3), 90))), "dark")
    opened.run(MOVE, {"blend": 1})
    opened.run(send + SETTLE, list(png_of(np.full((64, 64, 3), 200))), "light")
    assert np.abs(opened.canvas(".now canvas") - 200).max() <= 2


def test_curve_and_spectrum_can_be_read_with_keys(opened: Browser) -> None:
    opened.run(FITTED, True)
    opened.press(".chart", "\ue014\ue014")
    told = opened.run("return document.querySelector('.readout').textContent")
    share = opened.run("return latentlab.scene().fits[0].spectrum.cumulative[2]")
    assert told.startswith("k = 3: tokens ")
    assert f"{100 * share:.3g}"[:4] in told
    assert "isotropic" in told
    opened.click("#chart-kinds button:nth-child(2)")
    assert opened.run("return document.querySelectorAll('.chart polyline').length") >= 2
    assert opened.run("return document.getElementById('verdict').textContent.length") > 100


def test_fields_that_make_no_sense_are_marked_and_nothing_is_sent(opened: Browser) -> None:
    send = """
        let sent = 0;
        const count = () => { sent++; return new Promise(() => {}); };
        latentlab.engine.record = latentlab.engine.fit = count;
        for (const [id, value] of [['record-steps', ''], ['record-span', ''], ['samples', '1']]) {
            document.getElementById(id).value = value;
        }
        document.querySelector('#record button').click();
        document.querySelector('#setup button').click();
        return [sent, document.querySelectorAll('input:invalid').length];
    """
    assert opened.run(send) == [0, 3]


def test_a_walk_is_recorded(opened: Browser) -> None:
    name, size = opened.run(
        "const {name, blob} = await latentlab.engine.record({direction: 0, span: 2, steps: 4, "
        "format: 'gif', state: latentlab.state.shown}); return [name, blob.size]"
    )
    assert name == "flower-PC1.gif"
    assert size > 1000


# Everybody, everywhere


def settled_page(browser: Browser, explorer: Explorer, width: int, scheme: str) -> None:
    open_page(browser, explorer.address)
    browser.run(FITTED, True)
    browser.resize(width, 900)
    browser.prefer(color_scheme=scheme, reduced_motion="reduce")
    browser.click("#tools button:nth-child(2)")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_nobody_is_kept_out(browser: Browser, explorer: Explorer, width: int, scheme: str) -> None:
    settled_page(browser, explorer, width, scheme)
    assert browser.run("return document.documentElement.scrollWidth") == width
    unnamed = browser.run(
        "return [...document.querySelectorAll('button, input, select, canvas, [role=img]')]"
        ".filter((one) => one.checkVisibility() && !one.ariaHidden && !one.ariaLabel && !one.title"
        " && !one.textContent && !one.labels?.length && !one.getAttribute('aria-labelledby'))"
        ".map((one) => one.outerHTML)"
    )
    assert unnamed == []
    doubled = browser.run(
        "const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);"
        "return ids.filter((id, place) => ids.indexOf(id) !== place)"
    )
    assert doubled == []
    script = axe_source()
    if script is not None:
        browser.cdp("Runtime.evaluate", expression=script)
        found = browser.run(
            "const {violations} = await axe.run(document); return violations.map((one) =>"
            " [one.id, one.help, one.nodes.map((node) => node.html)])"
        )
        assert found == []


def test_without_a_server_the_page_says_so(browser: Browser) -> None:
    how: dict[str, Any] = {"neighborhood": "tokens", "size": 64, "port": 0, "browser": False}
    with explore(latentlab.load_vae("linear"), "sample:flower", **how) as running:
        open_page(browser, running.address)
    browser.run("while (!/has stopped/.test(document.getElementById('status').textContent))"
                " await new Promise((go) => setTimeout(go, 20));")  # fmt: skip
    browser.run("latentlab.state.move(0, 1); await new Promise((go) => setTimeout(go, 100));")
    assert "Start latentlab explore again" in browser.run(TEXT, "status")
    browser.run(DROP, list(png_of(np.zeros((8, 8, 3)))), "late.png", "image/png")
    browser.run("while (!/^late.png was not/.test(document.getElementById('status').innerText))"
                " await new Promise((go) => setTimeout(go, 20));")  # fmt: skip


def test_two_models_are_moved_together(browser: Browser) -> None:
    how: dict[str, Any] = {"neighborhood": "tokens", "size": 64, "port": 0, "browser": False}
    vaes = [latentlab.load_vae(name) for name in ("linear", "mini")]
    with explore(vaes, "sample:flower", **how) as running:
        open_page(browser, running.address)
        assert browser.logs("browser") == []
        before = [browser.canvas(f".view:nth-child({k}) .now canvas") for k in (1, 2)]
        browser.run(MOVE, {"alphas": [2]})
        after = [browser.canvas(f".view:nth-child({k}) .now canvas") for k in (1, 2)]
        match = browser.run("return latentlab.scene().match")
        assert browser.run("return document.querySelectorAll('.originals canvas').length") == 5
    changes = [(one - other).ravel() for one, other in zip(after, before, strict=True)]
    correlation = np.corrcoef(*changes)[0, 1]
    assert match["correlations"][0] > 0.8
    assert correlation > 0.5


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    """Return a running explorer of a store of a few dozen images."""
    root = tmp_path_factory.mktemp("store")
    (root / "images").mkdir()
    rng = np.random.default_rng(0)
    for index in range(40):
        content = png_of(rng.integers(0, 200, 3) + rng.integers(0, 56, (32, 32, 3)))
        (root / "images" / f"{index:02d}.png").write_bytes(content)
    vae = latentlab.load_vae("linear")
    latentlab.encode_folder(vae, root / "images", root / "store", size=32, workers=0)
    how: dict[str, Any] = {"neighborhood": "tokens", "port": 0, "browser": False}
    with explore(vae, root / "store", images=root / "images", **how) as running:
        yield running


def test_a_map_leads_to_an_image(browser: Browser, mapped: Explorer) -> None:
    open_page(browser, mapped.address)
    browser.run("while (!latentlab.map.sheets) await new Promise((go) => setTimeout(go, 20));")
    assert browser.run(TEXT, "map-title") == "Map of 40 images"
    browser.press("#map-canvas", "\ue014\ue015")  # arrow right, then down
    name = browser.run(TEXT, "map-readout")
    assert name.endswith(".png")
    count = "return document.querySelectorAll('#map-neighbors canvas').length"
    assert browser.run(count) == 6
    browser.press("#map-canvas", "\ue007")  # enter
    browser.run(NAMED, name.removesuffix(".png"))
    assert browser.run(TEXT, "headline") == f"{name.removesuffix('.png')} in linear"
    assert browser.logs("browser") == []


def test_a_tap_on_the_map_opens_what_is_under_the_finger(
    browser: Browser, mapped: Explorer
) -> None:
    open_page(browser, mapped.address)
    browser.run("while (!latentlab.map.sheets) await new Promise((go) => setTimeout(go, 20));")
    browser.press("#map-canvas", "\ue014")
    name = browser.run(TEXT, "map-readout")
    tap = """
        const canvas = document.getElementById('map-canvas');
        const {left, top, width, height} = canvas.getBoundingClientRect();
        let asked = -1;
        latentlab.engine.pick = (number) => { asked = number; };
        canvas.setPointerCapture = () => {};
        for (let x = 0.2; x < 0.8 && asked < 0; x += 0.02) {
            for (let y = 0.2; y < 0.8 && asked < 0; y += 0.02) {
                for (const kind of ['pointerdown', 'pointerup']) {
                    canvas.dispatchEvent(new PointerEvent(kind, {pointerId: 7,
                        pointerType: 'touch', clientX: left + x * width, clientY: top + y * height,
                        bubbles: true}));
                }
                if (document.getElementById('map-readout').textContent === arguments[0]) asked = -1;
            }
        }
        return [asked, document.getElementById('map-readout').textContent];
    """
    asked, told = browser.run(tap, name)
    assert told == f"{asked:02d}.png" != name


def test_a_map_is_moved_and_enlarged_by_hand(browser: Browser, mapped: Explorer) -> None:
    open_page(browser, mapped.address)
    browser.run("while (!latentlab.map.sheets) await new Promise((go) => setTimeout(go, 20));")
    browser.run("await new Promise(requestAnimationFrame);")
    before = browser.canvas("#map-canvas")
    assert len(np.unique(before.reshape(-1, 3), axis=0)) > 20  # pictures, not dots alone
    shift = 120  # whole pixels, so that no picture is resampled
    width = browser.run(
        "return document.getElementById('map-canvas').getBoundingClientRect().width"
    )
    places = (0.5, 0.5 + 0.5 * shift / width, 0.5 + shift / width)
    drag(browser, "#map-canvas", *((place, 0.5) for place in places))
    browser.run("await new Promise(requestAnimationFrame);" * 2)
    moved = browser.canvas("#map-canvas")
    same = (moved[:, shift + 60 : -60] == before[:, 60 : -shift - 60]).mean()
    assert same > 0.95
    browser.click("#map-fit")
    browser.click("#map-in")
    browser.run("await new Promise(requestAnimationFrame);" * 2)
    assert (browser.canvas("#map-canvas") != before).any(2).mean() > 0.01


def test_a_map_is_colored_by_what_is_chosen(browser: Browser, mapped: Explorer) -> None:
    open_page(browser, mapped.address)
    browser.run("while (!latentlab.map.sheets) await new Promise((go) => setTimeout(go, 20));")
    choose = """
        const select = document.getElementById('map-color');
        select.value = arguments[0];
        select.dispatchEvent(new Event('change'));
        while (/^(Measuring…)?$/.test(document.getElementById('map-color-about').textContent))
            await new Promise((go) => setTimeout(go, 20));
        await new Promise(requestAnimationFrame);
        await new Promise(requestAnimationFrame);
        const about = document.getElementById('map-color-about').textContent;
        const ends = ['map-low', 'map-high'].map((id) => document.getElementById(id).textContent);
        return [about, ...ends];
    """
    before = browser.canvas("#map-canvas")
    groups = "return [...document.querySelectorAll('#map-color optgroup')].map((one) => one.label)"
    doctor = ["latentlab doctor", "Channels", "latentlab doctor, of decoded images"]
    assert browser.run(groups) == ["Latent", *doctor]
    about, low, high = browser.run(choose, "std")
    assert about.startswith("The standard deviation")
    assert float(low) < float(high)
    colored = browser.canvas("#map-canvas")
    assert (colored != before).any(2).sum() > 200
    browser.press("#map-canvas", "\ue014")
    assert re.fullmatch(r"\d\d\.png, standard deviation [\d.]+", browser.run(TEXT, "map-readout"))
    browser.click("#map-pictures")
    browser.run("await new Promise(requestAnimationFrame);" * 2)
    dots = browser.canvas("#map-canvas")
    first = browser.run("return getComputedStyle(document.body).getPropertyValue('--scale-0')")
    lowest = [int(first.strip()[place : place + 2], 16) for place in (1, 3, 5)]
    assert (np.abs(dots - lowest).max(2) <= 2).sum() >= 9  # the dot of the image that has least
    late = """
        const send = WebSocket.prototype.send;
        const first = latentlab.engine.color('mean').catch(() => 'asked again');
        WebSocket.prototype.send = function (data) {
            setTimeout(() => send.call(this, data), 500);
        };
        const second = latentlab.engine.color('std');
        WebSocket.prototype.send = send;
        return [await first, (await second).name];
    """
    assert browser.run(late) == ["asked again", "std"]  # the first answer was on its way
    about, *_ = browser.run(choose, "finite")
    assert about.endswith("A finding above 0: 0 of 40 images.")
    browser.run("latentlab.engine.color = () => Promise.reject("
                "Object.assign(new Error(), {detail: 'A shard is damaged.'}));")  # fmt: skip
    assert browser.run(choose, "mean")[0] == "No colors: A shard is damaged."
    assert browser.run("return document.getElementById('map-color').value") == ""
    twice = """
        const select = document.getElementById('map-color');
        const asked = [];
        latentlab.engine.color = (name) => new Promise((resolve, reject) => {
            asked.at(-1)?.reject({detail: 'Asked again'});
            asked.push({resolve, reject});
        });
        for (const name of ['std', '', 'std']) {
            select.value = name;
            select.dispatchEvent(new Event('change'));
        }
        await new Promise((go) => setTimeout(go, 20));
        return [select.value, document.getElementById('map-color-about').textContent];
    """
    assert browser.run(twice) == ["std", "Measuring…"]  # the first answer has no say any more
    assert browser.logs("browser") == []


def test_images_in_view_are_decoded_for_a_color_and_that_can_be_stopped(
    browser: Browser, mapped: Explorer
) -> None:
    open_page(browser, mapped.address)
    browser.run("while (!latentlab.map.sheets) await new Promise((go) => setTimeout(go, 20));")
    choose = """
        const select = document.getElementById('map-color');
        const more = document.getElementById('map-more');
        if (arguments[0]) {
            select.value = arguments[0];
            select.dispatchEvent(new Event('change'));
        } else more.click();
        if (arguments[1]) document.getElementById('map-stop').click();
        await new Promise((go) => setTimeout(go, 20));
        while (!document.getElementById('map-work').hidden)
            await new Promise((go) => setTimeout(go, 20));
        return [document.getElementById('map-color-about').textContent, more.hidden];
    """
    about, hidden = browser.run(choose, "psnr", True)  # stopped at once
    stopped = re.search(r"Measured in (\d+) of 40 images; the others have no color", about)
    assert stopped is not None
    assert hidden is False
    bar = """
        latentlab.engine.tell("progress", {what: "sampling", done: 3, total: 7, ...arguments[0]});
        return document.getElementById("map-bar").max;
    """
    assert browser.run(bar, {"errand": ""}) != 7  # of a search, which is no work of the map
    assert browser.run(bar, {"errand": "colors"}) == 7
    about, hidden = browser.run(choose, "", False)
    part = re.search(r"Measured in (\d+) of 40 images", about)
    measured = int(part[1]) if part else 40
    assert measured >= 39 > int(stopped[1])  # one beyond the edge of the map may be missing
    assert hidden is (measured == 40)
    about, _ = browser.run(choose, "lost detail", False)
    assert "A finding below 0.4: " in about
    assert browser.logs("browser") == []
