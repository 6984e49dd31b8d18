"""The page in a real browser: it sorts, filters, asks for nothing, and fits a phone."""

import base64
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from compare_support import write
from hypothesis import HealthCheck, given, settings
from leaderboard_support import comparisons, measured, published, rich_comparison
from PIL import Image
from tests_support import examples

from voiceface.compare.grouping import compare_results
from voiceface.compare.reading import find_results
from voiceface.compare.render.blocks import sign_of
from voiceface.compare.render.page import to_html
from voiceface.compare.render.pictures import SIDE, shrunk
from voiceface.compare.table import Comparison
from voiceface.evaluation.cells import percent

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_a_browser = pytest.mark.slow(reason="a Chromium and its driver, which the quick tier does without")
FAST = settings(max_examples=examples(10), deadline=None, suppress_health_check=[HealthCheck.too_slow])
EVIL = "<script>alert(1)</script>"
MODELS = 10


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Ten models on the same clips, one with a hostile name, one with a picture of its embeddings."""
    folder = tmp_path_factory.mktemp("runs")
    for i in range(MODELS):
        name = EVIL if i == 4 else f"model_{i}"
        data = {"synthetic": True, "corpus": "made", "split": "test"}
        training = {"steps": 40, "curve": [[10, 0.5], [40, 0.6]]}
        write(folder / str(i) / "results.json", name, 0.6 + 0.25 * i, i, data=data, training=training)
    Image.new("RGB", (900, 700), "navy").save(folder / "0" / "embeddings.png")
    return compare_results(find_results([folder])[0])


def clip(key: str) -> bytes:
    """A face or a voice for every key; its shade or its pitch tells which."""
    buffer = io.BytesIO()
    if "face" not in key:
        tone = np.sin(np.arange(8000) * (0.1 + 0.1 * int(key[-1])))
        soundfile.write(buffer, 0.5 * tone, 16_000, format="FLAC")
        return buffer.getvalue()
    Image.new("RGB", (64, 64), (100, 20 * int(key[-1]), 80)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def html(scored: Comparison) -> str:
    groups = (*scored.groups, measured(models=7), published())
    return to_html(replace(scored, groups=groups, left_out=(("old.json", f"was {EVIL}"),)), clips=clip)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(browser: Any, html: str, tmp_path: Path) -> Iterator[Any]:
    """A function that opens the page; at the end it must have complained of nothing and asked for nothing."""
    file, said, contexts = tmp_path / "page.html", [], []
    file.write_text(html, "utf-8")

    def open_page(**options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith("data:") else None)
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == [file.as_uri()] * len(contexts)


def column(page: Any, number: int, table: int = 0) -> list[str]:
    """What a column's cells show, the pinned rows' last."""
    rows = page.locator("table.board").nth(table).locator("tbody tr:visible")
    return [row.split("\t")[number] for row in rows.evaluate_all("rows => rows.map(row => row.innerText)")]


def numbers(shown: list[str]) -> list[float | None]:
    return [float(found[0]) if (found := re.match(r"[\d.]+", text)) else None for text in shown]


def values(scored: Comparison, number: int) -> list[float]:
    return [float(percent(r.cells[number].value)) for r in scored.groups[0].rows if r.kind == "model"]


@in_a_browser
def test_a_click_sorts_and_chance_stays_below(opened: Any, scored: Comparison):
    page = opened()
    assert numbers(column(page, 1))[:MODELS] == sorted(values(scored, 0), reverse=True)
    heads = page.locator("table.board").first.locator("thead th")
    assert heads.nth(1).get_attribute("aria-sort") == "descending"
    for order in ("descending", "ascending"):
        heads.nth(3).get_by_role("button").click()
        assert heads.nth(3).get_attribute("aria-sort") == order
        assert heads.nth(1).get_attribute("aria-sort") is None
        assert numbers(column(page, 3))[:MODELS] == sorted(values(scored, 2), reverse=order == "descending")
        assert column(page, 0)[MODELS:] == ["chance"]
    assert "ascending" in page.locator("[role=status]").first.inner_text()
    heads.nth(0).get_by_role("button").click()
    assert column(page, 0)[:MODELS] == sorted(column(page, 0)[:MODELS])


@in_a_browser
def test_rows_without_a_value_come_last_either_way(opened: Any):
    page = opened()
    group = measured(models=7)
    number = next(i for i, c in enumerate(group.columns) if c.task == "retrieval")
    head = page.locator("table.board").nth(1).locator("thead th").nth(number + 1)
    for _ in range(2):
        head.get_by_role("button").click()
        assert numbers(column(page, number + 1, table=1))[6] is None
        assert column(page, 0, table=1)[7:] == [r.name for r in group.rows if r.kind != "model"]


@in_a_browser
def test_keys_alone_sort_and_filter(opened: Any):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    filter_box = page.get_by_label("Show only rows with").first
    filter_box.focus()
    page.keyboard.type("model_3")
    assert column(page, 0) == ["model_3", "chance"]
    assert page.locator("output").first.inner_text() == f"1 of {MODELS} rows"
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Delete")
    assert len(column(page, 0)) == MODELS + 1
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('th') !== null"):
            break
    page.keyboard.press("Enter")
    assert page.locator("table.board").first.locator("thead th").first.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    assert page.locator("table.board").first.locator("thead th").first.get_attribute("aria-sort") == "descending"


@in_a_browser
def test_columns_of_a_task_hide(opened: Any, scored: Comparison):
    page = opened()
    blocks = [c.what for c in scored.groups[0].columns]
    before = page.locator("table.board").first.locator("thead th:visible").count()
    page.locator("fieldset").first.get_by_label("AUC").uncheck()
    assert page.locator("table.board").first.locator("thead th:visible").count() == before - blocks.count("AUC")
    first = next(i for i, what in enumerate(blocks) if what != "AUC")
    assert numbers(column(page, 1))[:MODELS] == values(scored, first)
    page.locator("fieldset").first.get_by_label("AUC").check()
    assert page.locator("table.board").first.locator("thead th:visible").count() == before


@in_a_browser
@pytest.mark.parametrize("width", [390, 320, 1400])
def test_it_fits_a_phone_and_the_models_names_stay_in_sight(opened: Any, width: int):
    page = opened(viewport={"width": width, "height": 800})
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator(".scroll").first
    left = box.bounding_box()["x"]
    box.evaluate("box => { box.scrollLeft = 400 }")
    assert page.locator("tbody th").first.bounding_box()["x"] == pytest.approx(left, abs=2)
    for plot in page.locator("figure > svg").all():
        assert plot.bounding_box()["width"] <= width


@in_a_browser
def test_light_and_dark_have_enough_contrast(opened: Any):
    contrast = """() => {
      const light = (css) => {
        const [r, g, b] = css.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
          .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ground = light(getComputedStyle(document.body).backgroundColor);
      const of = (css) => (Math.max(light(css), ground) + 0.05) / (Math.min(light(css), ground) + 0.05);
      const least = (of_what, property) =>
        Math.min(...[...document.querySelectorAll(of_what)].map((e) => of(getComputedStyle(e)[property])));
      return [ground, least("p, li, td small, .sign, a, summary, caption, th, td", "color"), least("svg text", "fill")];
    }"""
    for scheme in ("light", "dark"):
        ground, words, names_of_lines = opened(color_scheme=scheme).evaluate(contrast)
        assert (ground > 0.5) == (scheme == "light")
        assert words >= 4.5  # what the W3C asks of text
        assert names_of_lines >= 3.0  # and of what is drawn; these have a marker beside them and a table below


@in_a_browser
def test_a_screen_reader_finds_its_way(opened: Any):
    page = opened()
    levels = page.locator("h1, h2, h3, h4").evaluate_all("heads => heads.map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for table in page.locator("table").all():
        assert table.locator("caption").count() == 1
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("img:not([alt]), input:not([id]):not(label input)").count() == 0
    ids = page.locator("[id]").evaluate_all("all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))
    named = page.locator("[aria-labelledby], [aria-describedby], a[href^='#'], label[for]").evaluate_all(
        "all => all.flatMap(e => [e.getAttribute('aria-labelledby'), e.getAttribute('aria-describedby'), "
        "e.getAttribute('for'), e.getAttribute('href')?.slice(1)]).filter(Boolean)"
    )
    assert set(named) <= set(ids)
    plots = page.get_by_role("img", name=re.compile("1:N matching|ROC curves|Recall|1:2 intervals|Strata|Training"))
    assert plots.count() == 6
    assert page.locator("figcaption details table").count() >= 6


@in_a_browser
def test_examples_show_faces_of_synthetic_clips_alone(opened: Any, scored: Comparison):
    page = opened()
    assert page.locator(".example").count() == 12
    first = page.locator(".example").first
    shown = [first.locator(f"tbody tr >> nth={i}").locator("th").inner_text() for i in range(8)]
    assert shown == [r.name for r in scored.groups[0].rows if r.kind == "model"][:8]
    group = scored.groups[0]
    example = group.results[shown[0]][0][1]["examples"][0]
    cells = first.locator("tbody tr").first.locator("td")
    assert float(cells.first.inner_text()) == pytest.approx(example["rank"], abs=0.06)
    sources = cells.locator("img").evaluate_all("all => all.map(e => e.src)")
    keys = [*(b["key"] for b in example["best"]), example["right"]]
    faces = [base64.b64encode(shrunk(clip(key), SIDE, "WEBP", 75)).decode() for key in keys]
    assert sources == [f"data:image/webp;base64,{face}" for face in faces]
    assert cells.locator("img").evaluate_all("all => all.every(e => e.complete && e.naturalWidth === 64)")
    right = cells.evaluate_all("all => all.slice(1).map(e => e.classList.contains('right'))")
    assert right == [*(b["same"] for b in example["best"]), True]
    real = replace(group, data={**group.data, "synthetic": False})
    text = to_html(Comparison((real,)), clips=clip)
    assert not re.search('class="clip"|data:audio', text)
    assert all(key in text for key in keys)
    assert page.locator("figure > img").evaluate_all("all => all.map(e => e.naturalWidth)") == [640]


@in_a_browser
def test_a_voice_plays_and_another_stops_it(opened: Any):
    page = opened()
    sounds = "document.querySelectorAll('audio')"
    playing = f"() => [...{sounds}].filter(sound => !sound.paused).map(sound => sound.id)"
    buttons = page.locator(".play:visible")
    wanted = [buttons.nth(i).get_attribute("data-plays") for i in range(2)]
    assert wanted[0] != wanted[1]
    for i in range(2):
        page.evaluate(f"{sounds}.forEach(sound => {{ sound.loop = true }})")  # or it ends before it is seen
        buttons.nth(i).click()
        page.wait_for_function(f"id => String(({playing})()) === id", arg=wanted[i])
        assert page.locator(".playing").count() == 1
    buttons.nth(1).click()
    page.wait_for_function(f"() => ({playing})().length === 0")
    assert page.evaluate(f"[...{sounds}].every(sound => sound.error === null)")


@in_a_browser
def test_one_model_stands_out_everywhere(opened: Any, scored: Comparison):
    page = opened()
    names = [r.name for r in scored.groups[0].rows if r.kind == "model"]
    rows = page.locator("table.board").first.locator("tbody tr")
    choice = page.get_by_label("Model in the examples and plots").first
    example = page.locator(".example").first.locator("tbody th:visible")
    colour = "line => getComputedStyle(line).stroke"
    lines = page.locator("figure").first.locator("[data-series] path[style*=stroke-linejoin]")

    def colours() -> set[str]:
        return set(lines.evaluate_all(f"all => all.map({colour})"))

    assert choice.input_value() == "0"
    assert example.all_inner_texts() == [names[0]]
    assert len(colours()) == 2
    rows.nth(3).click()
    assert choice.input_value() == "3"
    assert example.all_inner_texts() == [names[3]]
    assert rows.evaluate_all("all => all.map(row => row.className)").index("on") == 3
    before = colours()
    rows.nth(5).hover()
    assert colours() != before
    assert example.all_inner_texts() == [names[3]]  # what is above the pointer stays where it is
    rows.nth(9).click()  # a model that lines do not show: all are in colour
    assert len(colours()) == 8
    assert len(example.all_inner_texts()) == 8
    choice.select_option("")
    page.mouse.move(0, 0)
    assert len(colours()) == 8


@in_a_browser
def test_a_plot_enlarges_and_goes_back(opened: Any):
    page = opened()
    figure, dialog = page.locator("figure").first, page.locator("dialog")
    width = figure.locator("svg").bounding_box()["width"]
    figure.get_by_role("button", name="Enlarge").click()
    assert dialog.locator("svg").bounding_box()["width"] > 1.2 * width
    page.keyboard.press("Escape")
    assert dialog.locator("svg").count() == 0
    figure.locator("svg").click(position={"x": 3, "y": 3})
    dialog.get_by_role("button", name="Close").click()
    assert figure.locator("svg").bounding_box()["width"] == width


@in_a_browser
def test_without_scripts_the_page_is_whole(opened: Any, scored: Comparison):
    page = opened(java_script_enabled=False)
    assert page.locator(".example").first.locator("tbody tr:visible").count() == 8
    assert page.locator("button.play:visible, button.enlarge:visible, .controls:visible").count() == 0


class Texts(HTMLParser):
    """The words of a page, what its elements are, and every address in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_names_are_text_and_nothing_is_fetched(html: str):
    read = Texts(html)
    assert read.tags.count("script") == 1
    assert EVIL in read.words
    assert EVIL not in html
    assert f"old.json: was {EVIL}" in read.words
    assert all(link.startswith(("data:", "#")) for link in read.links)
    assert not re.search(r"@import|url\((?!#)", html)
    assert "default-src 'none'" in html


@FAST
@given(comparisons())
def test_any_leaderboard_is_a_page_with_all_its_names(comparison: Comparison):
    words = " ".join(Texts(to_html(comparison)).words.split())
    for group in comparison.groups:
        for name in (group.title, *(row.name for row in group.rows)):
            assert " ".join(name.split()) in words


@in_a_browser
def test_every_value_best_and_mark_is_on_the_page(opened: Any):
    group = measured(models=7)
    page = opened()
    table = page.locator("table.board").nth(1)
    for i, row in enumerate(r for r in group.rows if r.kind == "model"):
        cells = table.locator("tbody tr").nth(i).locator("td")
        shown = cells.evaluate_all(
            "all => all.map(e => [e.querySelector('.value').innerText, e.classList.contains('best'), "
            "e.querySelector('.sign')?.innerText, e.dataset.value])"
        )
        for place, ((text, best, sign, value), cell) in enumerate(zip(shown, row.cells, strict=False)):
            assert text == percent(cell.value)
            assert best == cell.best
            assert sign == sign_of(row, place, group).replace("★", "")
            assert value == ("" if cell.value is None else f"{cell.value:.6g}")


def test_the_page_is_small(html: str):
    assert len(html.encode()) < 3e6
    assert len(to_html(rich_comparison()).encode()) < 1e6
