"""Pages to explore: what is in them, and what they do in a browser.

Those at the end need the extra `browser` and a Chromium, and skip without.
"""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from pages import BLOCKS, BOWL, EVIL, PAIRS, SINGLE, X, Y, figure, lesion, lesions, path, surface

from ensemble.drawing.lesions import lesions as single_deletions
from ensemble.drawing.measure import wilson
from ensemble.drawing.page import lesion_page, numbers, trials
from landscape.drawing.document import packed, save_page
from landscape.drawing.html import line_page, surface_page
from landscape.engine.table import read
from landscape.errors import BadInput

RIDGES = 10 ** (3 * BOWL + np.random.default_rng(0).random(BOWL.shape))


def make(kind, folder):
    folder.mkdir(exist_ok=True)
    if kind == "surfaces":
        two = surface(folder / "a.h5", BOWL), surface(folder / "b.h5", RIDGES, network="plain-56", checkpoint="b")
        return surface_page([*two, path(folder / "path.h5")])
    if kind == "lines":
        return line_page([surface(folder / "a.h5", BOWL[3]), surface(folder / "b.h5", RIDGES[3], network="plain-56")])
    return lesion_page(lesions(folder))


class Seen(HTMLParser):
    """The elements of a page as a browser finds them, and the text of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self._open = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open == "script":
            self.scripts[-1] += data


def data_of(text):
    return json.loads(Seen(text).scripts[0])


def array_of(spec):
    flat = np.frombuffer(base64.b64decode(spec["bdata"]), spec["dtype"])
    return flat.reshape([int(n) for n in spec["shape"].split(",")]) if "shape" in spec else flat


# What is in a page


@pytest.mark.parametrize("kind", ["surfaces", "lines", "lesions"])
@pytest.mark.slow
def test_the_same_page_is_the_same_bytes(kind, tmp_path):
    one, two = make(kind, tmp_path / "one"), make(kind, tmp_path / "two")
    for text, name in ((one, "one.html"), (two, "two.html")):
        save_page(text, tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert (tmp_path / "one.html").read_text("utf-8") == one


@pytest.mark.parametrize("kind", ["surfaces", "lines", "lesions"])
def test_a_page_loads_nothing_and_runs_its_own_scripts_only(kind, tmp_path):
    seen = Seen(make(kind, tmp_path))
    said = [attributes for _, attributes in seen.tags]
    assert not [a for a in said if a.keys() & {"src", "href", "srcset", "action"}]
    assert not [a for a in said if any(name.startswith("on") for name in a)]
    (policy,) = [a["content"] for a in said if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in seen.scripts[1:]]
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert "url(" not in "".join(re.findall("<style>(.*?)</style>", make(kind, tmp_path / "again"), re.DOTALL))


def test_the_numbers_of_a_surface_are_those_of_its_file(tmp_path):
    loss = RIDGES.copy()
    loss[0, :3] = np.inf, -np.inf, np.nan
    file = surface(tmp_path / "a.h5", loss, left=[20])
    panel = data_of(surface_page([file]))["panels"][0]
    trace = panel["figure"]["data"][0]
    there = {name: array_of(spec) for name, spec in panel["values"][0].items()}
    np.testing.assert_array_equal(array_of(trace["x"]), X)
    np.testing.assert_array_equal(array_of(trace["y"]), Y)
    np.testing.assert_array_equal(array_of(trace["z"]), np.where(file["done"], loss, np.nan))
    for name in ("loss_se", "accuracy", "examples"):
        np.testing.assert_array_equal(there[name], file[name].ravel())
    assert np.flatnonzero(there["state"] != 1).tolist() == [20] and there["state"][20] == 0


def test_holes_and_interpolated_points_are_told(tmp_path):
    loss = BOWL.copy()
    loss[0, :3] = np.inf, -np.inf, np.nan
    text = surface_page([surface(tmp_path / "a.h5", loss, left=[20, 21])])
    assert "holes: the loss of 3 of 63 points is not finite" in text
    assert "holes: 2 of 63 points are not measured yet" in text
    file = surface(tmp_path / "b.h5", BOWL, left=[20, 21])
    file.variables["interpolated"] = ~file["done"]
    file["loss"][~file["done"]] = 0.5
    text = surface_page([file])
    assert "3 % of the points are interpolated" in text and 'class="note">holes' not in text
    assert np.flatnonzero(array_of(data_of(text)["panels"][0]["values"][0]["state"]) == 2).tolist() == [20, 21]


def test_every_array_comes_back_as_it_was():
    for array in (np.array([0, 255]), np.array([-1, 300]), np.array([2**40]), np.array([True, False]), RIDGES.ravel()):
        np.testing.assert_array_equal(array_of(packed(array)), array)
    assert packed(np.array([0, 255]))["dtype"] == "u1" and packed(np.array([-1, 300]))["dtype"] == "i4"
    assert packed(np.array([1.0]).astype(">f8"))["bdata"] == packed(np.array([1.0]))["bdata"]


def test_every_repeat_and_every_slice_is_a_plane_of_the_page(tmp_path):
    loss = np.stack([BOWL, RIDGES])
    for over, names in (("repeat", ["directions 0", "directions 1"]), ("z", ["γ = 0", "γ = 1"])):
        text = surface_page([surface(tmp_path / f"{over}.h5", loss, over={over: np.arange(2)})])
        figure = data_of(text)["panels"][0]["figure"]
        planes = [trace for trace in figure["data"] if trace["type"] == "surface"]
        np.testing.assert_array_equal([array_of(trace["z"]) for trace in planes], loss)
        assert [trace["visible"] for trace in planes] == [True, False]
        assert re.findall("<option[^>]*>([^<]*)", text) == names


def test_a_path_is_at_its_own_loss_and_the_page_says_that_it_leaves_the_plane(tmp_path):
    file = path(tmp_path / "path.h5")
    figure = data_of(surface_page([file, surface(tmp_path / "a.h5", BOWL)]))["panels"][0]["figure"]
    true, flat, strokes = figure["data"][-3:]
    np.testing.assert_array_equal(array_of(true["z"]), file["loss"])
    np.testing.assert_array_equal(array_of(flat["z"]), file["plane_loss"])
    ends = array_of(strokes["z"]).reshape(-1, 3)[:, :2]
    np.testing.assert_array_equal(ends, np.column_stack([file["loss"], file["plane_loss"]]))
    assert "leaves the plane" in true["name"]


def test_a_path_without_its_surface_and_one_of_another_loss_are_refused(tmp_path):
    file = path(tmp_path / "path.h5")
    other = surface(tmp_path / "b.h5", BOWL, checkpoint="b")
    with pytest.raises(BadInput, match=r"no surface here is in the plane of .*path\.h5"):
        surface_page([file, other])
    with pytest.raises(BadInput, match="is of cross_entropy, the surface of mse"):
        surface_page([file, surface(tmp_path / "c.h5", BOWL, loss="mse")])


def test_the_player_has_a_moment_for_each_checkpoint_and_its_numbers(tmp_path):
    file = path(tmp_path / "path.h5")
    data = data_of(surface_page([file, surface(tmp_path / "a.h5", BOWL)], seconds=2.0))
    assert data["player"] == {"moments": [f"checkpoint {i}" for i in range(4)], "fps": 2.0}
    (panel,) = data["panels"]
    (player,) = panel["paths"]
    assert panel["figure"]["data"][player["first"]]["name"].startswith("path, at its own loss")
    assert player["numbers"] == [1, 2, 3, 4] and player["name"] is None
    ((label, loss),) = player["known"]
    assert label == "loss"  # of no split that is told
    np.testing.assert_array_equal(array_of(loss), file["loss"])
    np.testing.assert_allclose(array_of(player["off"]), file["off_plane"] / file["distance"])


def test_paths_in_one_plane_have_names_and_colours_of_their_own(tmp_path):
    two = [path(tmp_path / f"{name}.h5", network=name) for name in ("sgd", "adam")]
    text = surface_page([*two, surface(tmp_path / "a.h5", BOWL)])
    (panel,) = data_of(text)["panels"]
    traces = [panel["figure"]["data"][each["first"]] for each in panel["paths"]]
    assert [each["name"] for each in panel["paths"]] == ["sgd", "adam"]
    assert [trace["name"].split(",")[0] for trace in traces] == ["sgd", "adam"]
    colours = [trace["line"]["color"] for trace in traces]
    assert colours[0] != colours[1] and re.findall('class="path" .*border-color: (#\\w+)', text) == colours


def test_a_page_without_paths_has_no_player(tmp_path):
    file = surface(tmp_path / "a.h5", BOWL)
    text = surface_page([file])
    assert 'id="play"' not in text and "player" not in data_of(text)
    with pytest.raises(BadInput, match="fps and seconds are of paths of trainings, and none is here"):
        surface_page([file], fps=3.0)


def test_losses_below_zero_have_no_log_scale(tmp_path):
    scales = data_of(surface_page([surface(tmp_path / "a.h5", BOWL - 1)]))["scales"]
    assert scales["first"] == "linear" and scales["kinds"].keys() == {"linear"}
    assert data_of(surface_page([surface(tmp_path / "b.h5", BOWL)]))["scales"]["first"] == "log"


def test_the_ends_of_the_scale_are_those_asked_for(tmp_path):
    file = surface(tmp_path / "a.h5", BOWL)
    kinds = data_of(surface_page([file], vmin=0.1, vmax=1.0))["scales"]["kinds"]
    assert (kinds["log"]["low"], kinds["log"]["high"]) == (0.1, 1.0)
    assert kinds["log"]["most"] == BOWL.max()  # the slider goes on
    scales = data_of(surface_page([file], vmin=-1.0, vmax=1.0, linear=True))["scales"]
    assert (scales["first"], scales["kinds"]["linear"]["low"], scales["kinds"]["linear"]["high"]) == ("linear", -1, 1)


def test_the_numbers_along_a_line_are_those_of_its_file(tmp_path):
    loss = BOWL[3].copy()
    loss[4] = np.inf
    file = surface(tmp_path / "a.h5", loss)
    text = line_page([file])
    above, error = data_of(text)["panels"][0]["figure"]["data"]
    np.testing.assert_array_equal(array_of(above["x"]), X)
    np.testing.assert_array_equal(array_of(above["y"]), np.where(np.isfinite(loss), loss, np.nan))
    np.testing.assert_array_equal(array_of(above["customdata"])[:, 0], file["loss_se"])
    np.testing.assert_array_equal(array_of(error["y"]), 100 * (1 - file["accuracy"]))
    assert "the loss of 1 of 9 points is not finite" in text


def test_networks_of_one_name_are_told_apart_by_their_files(tmp_path):
    text = line_page([surface(tmp_path / f"{name}.h5", BOWL[3]) for name in "ab"])
    names = [trace["name"] for trace in data_of(text)["panels"][0]["figure"]["data"]]
    assert set(names) == {"ResNet-56 (a)", "ResNet-56 (b)"}


def test_tables_become_one_in_which_each_set_stands_once(tmp_path):
    single, pairs = lesions(tmp_path)
    table = trials([single, pairs])
    sets = [tuple(chosen) for file in (single, pairs) for chosen in file["deleted"].tolist()]
    assert [tuple(chosen) for chosen in table["deleted"].tolist()] == list(dict.fromkeys(sets))
    for row, (file, trial) in enumerate(zip(table["file"], table["trial"], strict=True)):
        there = (single, pairs)[file]
        assert table["deleted"][row].tolist() == there["deleted"][trial].tolist()
        assert table["error"][row] == 1 - there["accuracy"][trial]
        for name in ("loss", "rise", "rise_se", "examples"):
            assert table[name][row] == there[name][trial]
        low, high = wilson(there["accuracy"][trial], there["examples"][trial])
        assert (table["low"][row], table["high"][row]) == (1 - high, 1 - low)


def test_the_page_has_the_trials_and_the_plot_their_errors(tmp_path):
    files = lesions(tmp_path)
    table, text = trials(files), lesion_page(files)
    there = {name: array_of(spec) for name, spec in data_of(text)["trials"].items()}
    for name, array in table.items():
        np.testing.assert_array_equal(there[name], array.ravel())
    drawn = [trace for trace in numbers(table, ["one", "two"]).data if trace.customdata is not None]
    rows = np.concatenate([trace.customdata for trace in drawn])
    np.testing.assert_array_equal(np.sort(rows[:, 0]), np.arange(len(table["error"])))
    np.testing.assert_array_equal(rows[:, 1], table["deleted"][rows[:, 0]].sum(axis=1))
    np.testing.assert_array_equal(np.concatenate([trace.y for trace in drawn]), 100 * table["error"][rows[:, 0]])


def test_blocks_stand_in_their_order_under_their_stages_with_the_numbers_of_figures(tmp_path):
    text = lesion_page(lesions(tmp_path))
    assert re.findall('role="group" aria-label="([^"]*)"', text) == ["stages.0", "stages.1"]
    buttons = re.findall('<button class="block" data-block="\\d" [^>]*title="([^"]*)">([^<]*)<', text)
    assert buttons == [(f"block {number}, {name}", str(number)) for number, name in enumerate(BLOCKS, 1)]
    axes = single_deletions([lesion(tmp_path / "single.h5", SINGLE)]).axes[0]
    drawn = {x for line in axes.lines if line.get_marker() in ("o", "D") for x in line.get_xdata().tolist()}
    assert drawn == {float(number) for _, number in buttons}


def test_lesions_of_two_networks_or_of_another_kind_are_refused(tmp_path):
    one = lesion(tmp_path / "one.h5", SINGLE)
    with pytest.raises(BadInput, match="their network is resnet-20 and plain-20"):
        lesion_page([one, lesion(tmp_path / "two.h5", SINGLE, network="plain-20")])
    with pytest.raises(BadInput, match="their checkpoint is None and b"):
        lesion_page([one, lesion(tmp_path / "three.h5", SINGLE, checkpoint="b")])
    with pytest.raises(BadInput, match=r"another kind .swapped."):
        lesion_page([lesion(tmp_path / "four.h5", SINGLE, lesion="swap")])


@pytest.mark.parametrize("kind", ["surfaces", "lines", "lesions"])
def test_what_a_stranger_wrote_is_text(kind, tmp_path):
    text = strange(kind, tmp_path)
    tags = [tag for tag, _ in Seen(text).tags]
    assert tags.count("script") == 4 and tags.count("img") == 0 and "b" not in tags
    assert EVIL not in text
    assert "<!--" not in text.partition("plotly.js v")[0]


def strange(kind, folder):
    named = {"network": EVIL, "command": EVIL, "data": EVIL, "checkpoint": EVIL, "loss": EVIL}
    if kind == "surfaces":
        return surface_page([surface(folder / "a.h5", BOWL, **named), path(folder / "p.h5", **named)], titles=[EVIL])
    if kind == "lines":
        return line_page([surface(folder / "a.h5", BOWL[3], to=[EVIL], **named)], titles=[EVIL])
    blocks = [f"{EVIL}.{name}" for name in "abcde"]
    return lesion_page([lesion(folder / "a.h5", SINGLE, blocks=blocks, **named)], titles=[EVIL])


# The command


def test_what_has_no_page_and_options_without_a_meaning_are_told(tmp_path):
    alone, file = path(tmp_path / "path.h5").path, surface(tmp_path / "a.h5", BOWL).path
    line = surface(tmp_path / "line.h5", BOWL[3]).path
    for said, arguments in {
        "a page shows surfaces over planes, with the paths in them, or surfaces along lines, or lesions": [file, line],
        "no surface here is in the plane of .*path.h5": [alone],
        "--view does not apply": [file, "--view", 1, 2],
        "--by-depth does not apply": [file, "--by-depth"],
        "output folder .* does not exist": [file],
    }.items():
        out = tmp_path / "new" / "out.html" if "folder" in said else tmp_path / "out.html"
        with pytest.raises(BadInput, match=said) as error:
            figure(out, *arguments)
        assert "\n" not in str(error.value) and not out.exists()


# In a browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CAMERA = "n => Object.values(element(`plot-${n}`)._fullLayout.scene._scene.getCamera().eye)"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    software = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-watchdog"]
    with playwright.sync_playwright() as context:
        opened = context.chromium.launch(executable_path=CHROMIUM, args=software)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Open a page, and in the end assert that it complained of nothing and asked nothing of a network."""
    complaints, requests, pages = [], [], []

    def go(text, ready, width=1200):
        save_page(text, tmp_path / "page.html")
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.set_default_timeout(120_000)  # a test machine is busy
        pages.append(page)
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"file://{tmp_path}/page.html", wait_until="commit")
        page.wait_for_function(ready)
        return page

    yield go
    for page in pages:
        assert page.evaluate("window.hacked") is None
        page.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "blob:", "data:"))] == []


RELIEF = "() => document.querySelectorAll('#plot-0 canvas').length && element('plot-0')._fullLayout.scene._scene"
LINE = "() => document.querySelectorAll('#plot-0 .lines path').length"
PLOT = "() => document.querySelectorAll('#plot .points path').length"


def heights(page, n=0):
    return np.array(page.evaluate("n => Array.from(element(`plot-${n}`).data[0].z, (row) => Array.from(row))", n))


def test_the_scale_and_the_clip_level_change_the_heights(visit, tmp_path):
    page = visit(surface_page([surface(tmp_path / "a.h5", RIDGES)], vmin=2.0, vmax=500.0), RELIEF)
    np.testing.assert_allclose(heights(page), np.log10(np.clip(RIDGES, 2, 500)), rtol=1e-6)
    page.get_by_label("linear").check()
    low, high = page.evaluate("[kinds.linear.low, kinds.linear.high]")
    np.testing.assert_allclose(heights(page), np.clip(RIDGES, low, high), rtol=1e-6)
    page.locator("#clip").fill("0.1")
    page.wait_for_timeout(300)
    top = low + 0.1 * (RIDGES.max() - low)
    np.testing.assert_allclose(heights(page), np.clip(RIDGES, low, top), rtol=1e-6)
    assert page.evaluate("element('plot-0')._fullLayout.scene.zaxis.range[1]") > top
    page.get_by_label("log").check()
    np.testing.assert_allclose(heights(page), np.log10(np.clip(RIDGES, 2, 500)), rtol=1e-6)


SHOWN = "Array.from(element('plot-0').data.at(-3).z).filter(Number.isFinite).length"


def test_a_path_is_played_and_stepped_through(visit, tmp_path):
    page = visit(surface_page([path(tmp_path / "path.h5"), surface(tmp_path / "a.h5", BOWL)], fps=20.0), RELIEF)
    assert page.evaluate(SHOWN) == 4  # the page opens with the whole path
    page.keyboard.press("Home")
    assert (page.locator("#clock").inner_text(), page.evaluate(SHOWN)) == ("checkpoint 0", 1)
    page.keyboard.press("ArrowRight")
    assert (page.locator("#clock").inner_text(), page.evaluate(SHOWN)) == ("checkpoint 1", 2)
    file = read(tmp_path / "path.h5")
    off = file["off_plane"][1] / file["distance"][1]
    assert page.locator("#path-0-0").inner_text() == f"loss 1.5 · {off:.2f} ‖θ − θ*‖ off the plane"
    assert page.evaluate("element('plot-0').data.at(-3).marker.size[1]") == 8
    page.locator("#moment").fill("2")
    assert page.evaluate(SHOWN) == 3
    page.get_by_label("linear").check()  # another scale is of the same moment
    assert page.evaluate(SHOWN) == 3
    page.locator("h1").click()
    page.keyboard.press("End")
    page.get_by_role("button", name="play").click()
    page.wait_for_function("() => element('play').textContent === 'play' && slider.value === '3'")
    assert page.evaluate(SHOWN) == 4
    assert heights(page).shape == BOWL.shape


def test_another_plane_is_shown_when_it_is_chosen(visit, tmp_path):
    file = surface(tmp_path / "a.h5", np.stack([BOWL, RIDGES]), over={"repeat": np.arange(2)})
    page = visit(surface_page([file]), RELIEF)
    assert page.evaluate("element('plot-0').data.slice(0, 2).map(({ visible }) => visible)") == [True, False]
    page.get_by_label("plane").select_option("1")
    assert page.evaluate("element('plot-0').data.slice(0, 2).map(({ visible }) => visible)") == [False, True]


def test_turning_one_surface_turns_the_other_and_a_click_turns_both_back(visit, tmp_path):
    page = visit(make("surfaces", tmp_path), RELIEF)
    begun = page.evaluate(CAMERA, 0)
    box = page.locator("#plot-0").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 15, y + 5, steps=4)
    page.mouse.up()
    page.wait_for_timeout(1000)
    turned = page.evaluate(CAMERA, 0)
    assert np.abs(np.subtract(turned, begun)).max() > 0.05
    np.testing.assert_allclose(page.evaluate(CAMERA, 1), turned, atol=1e-6)
    page.mouse.wheel(0, 200)
    page.wait_for_timeout(1000)
    zoomed = page.evaluate(CAMERA, 0)
    assert np.linalg.norm(zoomed) > 1.05 * np.linalg.norm(turned)
    np.testing.assert_allclose(page.evaluate(CAMERA, 1), zoomed, atol=1e-6)
    page.get_by_role("button", name="from the side").click()
    page.wait_for_timeout(500)
    for n in (0, 1):
        np.testing.assert_allclose(page.evaluate(CAMERA, n), begun, atol=1e-6)


def test_pointing_at_one_surface_tells_the_numbers_of_both(visit, tmp_path):
    page = visit(make("surfaces", tmp_path), RELIEF)
    page.get_by_role("button", name="from above").click()
    page.wait_for_timeout(500)
    box = page.locator("#plot-0").bounding_box()
    for part in (0.45, 0.55):
        page.locator("#readout-0").evaluate("line => { line.textContent = '' }")
        page.mouse.move(box["x"] + part * box["width"], box["y"] + 0.48 * box["height"], steps=5)
        page.wait_for_function("() => element('readout-0').textContent")
        page.wait_for_timeout(300)
        for n, (file, loss) in enumerate((("a", BOWL), ("b", RIDGES))):
            said = page.locator(f"#readout-{n}").inner_text().replace("−", "-")
            alpha, beta, shown, error, examples = map(
                float,
                re.fullmatch(
                    r"α (\S+), β (\S+): loss (\S+) ± \S+, error (\S+) %, accuracy \S+ %, (\d+) examples", said
                ).groups(),
            )
            place = np.abs(Y - beta).argmin(), np.abs(X - alpha).argmin()
            there = read(tmp_path / f"{file}.h5")
            assert (abs(alpha - X[place[1]]) < 1e-3) and (abs(beta - Y[place[0]]) < 1e-3)
            assert shown == pytest.approx(loss[place], rel=1e-3)
            assert error == pytest.approx(100 * (1 - there["accuracy"][place]), abs=0.006)
            assert examples == there["examples"][place]
            ring = page.evaluate(
                "n => { const { x, y, z } = panels[n].data.at(-1); return [x[0], y[0], z[0]] }", "ab".index(file)
            )
            assert ring == pytest.approx([X[place[1]], Y[place[0]], np.log10(loss[place])], rel=1e-6)


def test_a_line_follows_the_scale_and_tells_its_numbers(visit, tmp_path):
    file = surface(tmp_path / "a.h5", BOWL[3])
    page = visit(line_page([file], vmax=10.0), LINE)
    axis = "element('plot-0')._fullLayout.yaxis"
    assert page.evaluate(f"[{axis}.type, {axis}.range[1]]") == ["log", 1]
    page.get_by_label("linear").check()
    assert page.evaluate(f"{axis}.type") == "linear"
    box = page.locator("#plot-0 .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=5)  # α = −0.5
    said = f"{BOWL[3][2]:.4f} ± {file['loss_se'][2]:.2g}, error {100 * (1 - file['accuracy'][2]):.2f} %"
    page.wait_for_function(
        "told => document.querySelector('#plot-0 .hoverlayer .legend')?.textContent.includes(told)", arg=said
    )


def nearest(table, chosen):
    """By brute force: how near a trial can be, and all that are so near."""
    apart = (table["deleted"] != np.array(chosen, bool)).sum(axis=1)
    return apart.min(), np.flatnonzero(apart == apart.min())


def test_clicked_blocks_give_the_nearest_trial_and_tell_how_it_differs(visit, tmp_path):
    files = lesions(tmp_path)
    table = trials(files)
    page = visit(lesion_page(files), PLOT)
    chosen = np.zeros(5, bool)
    numbered = [f"{number} ({name})" for number, name in enumerate(BLOCKS, 1)]
    rng = np.random.default_rng(0)
    exact = 0
    for block in [0, 2, *rng.integers(5, size=10)]:
        page.locator(f'[data-block="{block}"]').click()
        chosen[block] ^= True
        apart, rows = nearest(table, chosen)
        row = rows[0]
        exact += apart == 0
        assert page.locator("#error").inner_text() == f"{100 * table['error'][row]:.2f} %"
        interval = page.locator("#interval").inner_text()
        assert interval == f"95 % interval {100 * table['low'][row]:.2f} to {100 * table['high'][row]:.2f} %"
        rise = float(page.locator("#rise").inner_text().replace("−", "-"))
        assert rise == pytest.approx(table["rise"][row], rel=1e-3)
        differs = page.locator("#differs").inner_text()
        there = table["deleted"][row]
        more, less = (
            re.findall(r"\d \(stages\.\d\.\d\)", part)
            for part in re.fullmatch("(it del.*too)?.*?(it k.*)?", differs).groups("")
        )
        assert more == [name for name, a, b in zip(numbered, there, chosen, strict=True) if a and not b]
        assert less == [name for name, a, b in zip(numbered, there, chosen, strict=True) if b and not a]
        assert page.locator(".differs").count() == apart
        assert ("differs in" in page.locator("#match").inner_text()) == bool(apart)
        ties = page.locator("#ties").inner_text()
        assert ties.startswith(f"{len(rows)} trials are as near") if len(rows) > 1 else ties == ""
        pressed = page.locator('.block[aria-pressed="true"]').evaluate_all("all => all.map(b => b.title)")
        titles = (f"block {number}, {name}" for number, name in enumerate(BLOCKS, 1))
        assert pressed == [name for name, out in zip(titles, chosen, strict=True) if out]
        mark = page.evaluate("plot.data.at(-1)")
        assert mark["y"] == pytest.approx(100 * table["error"][rows])  # all that are as near, the first one first
        assert mark["y"][0] + mark["error_y"]["array"][0] == pytest.approx(100 * table["high"][row])
    assert 0 < exact < 12  # both happened
    page.get_by_role("button", name="reset: the whole network").click()
    assert page.locator('.block[aria-pressed="true"]').count() == 0
    assert page.locator("#error").inner_text() == f"{100 * table['error'][0]:.2f} %"


def test_blocks_are_deleted_from_the_keyboard_too(visit, tmp_path):
    page = visit(lesion_page(lesions(tmp_path)), PLOT)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("#chosen").inner_text() == "Deleted, 2 of 5 blocks: 1 (stages.0.0), 2 (stages.0.1)"


def test_a_trial_that_is_clicked_in_the_plot_selects_its_blocks(visit, tmp_path):
    files = lesions(tmp_path)
    table = trials(files)
    page = visit(lesion_page(files), PLOT)
    row = int(np.flatnonzero((table["deleted"] == np.array(PAIRS[3], bool)).all(axis=1))[0])
    spot = page.evaluate(
        """row => {
          const trace = plot.data.find(({ customdata }) => customdata?.some((one) => one[0] === row));
          const at = trace.customdata.findIndex((one) => one[0] === row);
          const { xaxis, yaxis } = plot._fullLayout;
          const box = plot.getBoundingClientRect();
          const x = box.left + xaxis._offset + xaxis.d2p(trace.x[at]);
          return [x, box.top + yaxis._offset + yaxis.d2p(100 * all.error[row])];
        }""",
        row,
    )
    page.mouse.move(*spot, steps=3)
    page.wait_for_timeout(300)
    page.mouse.click(*spot)
    page.wait_for_timeout(300)
    assert page.locator("#chosen").inner_text() == "Deleted, 2 of 5 blocks: 2 (stages.0.1), 3 (stages.1.0)"
    assert page.locator("#error").inner_text() == f"{100 * table['error'][row]:.2f} %"


@pytest.mark.parametrize("width", [700, 1200])
@pytest.mark.parametrize("kind", ["surfaces", "lines", "lesions"])
def test_a_page_fits_its_window_and_runs_nothing_of_a_stranger(kind, width, visit, tmp_path):
    page = visit(strange(kind, tmp_path), {"surfaces": RELIEF, "lines": LINE, "lesions": PLOT}[kind], width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("img").count() == 0
    texts = [page.locator("h1").inner_text(), *page.locator(".plot text").all_text_contents()]
    number = 1 + {"surfaces": 1, "lines": 3, "lesions": 0}[kind]  # the loss; of lines also the network and α
    assert sum(EVIL in text for text in texts) == number


@pytest.mark.parametrize(("width", "height"), [(700, 900), (1200, 900), (1200, 450)])
def test_the_legend_lies_on_nothing_else_however_long_its_names(width, height, visit, tmp_path):
    page = visit(lesion_page(lesions(tmp_path), titles=["deletions of single blocks " * 2, "pairs"]), PLOT, width)
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(500)
    page.locator("#plot").hover()
    box = "name => { const { left, top, right, bottom } = plot.querySelector(name).getBoundingClientRect(); "
    box += "return { left, top, right, bottom }; }"
    bar, legend, *below = (
        page.evaluate(box, name) for name in (".modebar", ".legend", ".nsewdrag", ".xaxislayer-above", ".xtitle")
    )
    assert bar["right"] - bar["left"] > 50 and legend["right"] - legend["left"] > 50
    assert bar["bottom"] < legend["top"] or legend["bottom"] < bar["top"]
    for upper, lower in pairwise([*below, legend]):
        assert upper["bottom"] <= lower["top"] + 4  # of a title's box, in which its letters have room
    assert legend["bottom"] <= page.locator("#plot").evaluate("plot => plot.getBoundingClientRect().bottom")
