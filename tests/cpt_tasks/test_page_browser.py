"""The page in a real browser: it opens, sorts, filters, drills down, and can be used by everyone."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import page_samples
import pytest

CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
MISSING = "needs Debian's chromium (apt-get install chromium) and the extra `dev` (playwright)"
READY = CHROMIUM is not None and find_spec("playwright") is not None

pytestmark = pytest.mark.skipif(not READY and not os.environ.get("CI"), reason=MISSING)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    assert READY, MISSING
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def open_page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Opens a page in a context of its own; what its console says or it asks for is in `page.complaints`."""

    def open_page(html: str, fragment: str = "") -> Any:
        path = tmp_path_factory.mktemp("page") / "report.html"
        path.write_text(html, encoding="utf-8")
        page = browser.new_context(viewport={"width": 1200, "height": 900}, reduced_motion="reduce").new_page()
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.complaints.append(request.url) if request.url[:5] != "file:" else None)
        page.goto(path.as_uri() + fragment)
        page.wait_for_selector("html[data-drawn]")
        page.wait_for_selector(".response")
        return page

    return open_page


@pytest.fixture(scope="module")
def shared(open_page: Callable[..., Any]) -> Any:
    return open_page(page_samples.page())


@pytest.fixture
def page(shared: Any) -> Iterator[Any]:
    """One page for all tests, since opening takes longest: sorted, filtered and styled as when it was opened."""
    yield shared
    shared.set_viewport_size({"width": 1200, "height": 900})
    shared.emulate_media(media="screen", color_scheme="light")
    shared.locator("#filter").fill("")
    accuracy = shared.locator("#board thead th").nth(1)
    while accuracy.get_attribute("aria-sort") != "descending":
        accuracy.locator("button").click()
    assert shared.complaints == []


def models(page: Any) -> list[str]:
    rows = page.locator("#board tbody tr:visible").all()
    return [row.get_attribute("data-model")[:5] for row in rows]


def test_it_opens_draws_every_chart_and_asks_for_nothing(page: Any) -> None:
    charts = page.locator("figure.chart")
    # two of rubric_adherence, one of five more
    assert charts.count() == 7
    for chart in charts.all():
        assert chart.locator(".plot svg path").count() > 3, chart.get_attribute("id")
        assert chart.locator(".numbers td").count() > 0
    assert page.locator("#board tbody svg .value").count() == 2  # the accuracy of the third is undefined
    assert page.locator("#board tbody svg .ceiling").count() == 1
    assert page.locator("section > .notice").first.text_content() == "8 user prompts: few"


def test_hostile_text_stays_text(page: Any) -> None:
    page.locator("#board .open").last.click()
    page.wait_for_function("() => document.querySelector('#pick-model').value.startsWith('gamma')")
    page.locator("#pick-order").select_option("prompt")
    page.wait_for_function("() => document.querySelector('.about').textContent.startsWith('prompt-0')")
    said = page.locator(".response .said:not(.user)").nth(1)
    assert said.text_content() == page_samples.HOSTILE
    assert page.locator(".judge dd").nth(1).text_content() == page_samples.HOSTILE
    assert page.locator("img").count() == 0
    assert page.title().startswith("cpt-tasks report")
    page.locator("#chart-levels_by_model .plot .mark-symbol.role-mark path").last.hover()
    assert page.locator("#tip").text_content().startswith(f"model {page_samples.MODELS[2]}")
    assert page.evaluate("() => [...document.scripts].every((script) => script.parentNode === document.body)")


def test_tables_sort_both_ways_with_the_keyboard_and_say_so(page: Any) -> None:
    assert models(page) == ["beta", "alpha", "gamma"]
    head = page.locator("#board thead th").nth(1)
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert models(page) == ["alpha", "beta", "gamma"]  # undefined stays last
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "none"
    assert page.locator("#board thead th").nth(2).get_attribute("aria-sort") == "descending"
    assert models(page) == ["alpha", "beta", "gamma"]  # order 0.1, -0.1, -0.3
    assert page.locator("#status").text_content() == "3 models, sorted by Order, highest first."
    page.locator("#board thead button").last.click()
    assert models(page) == ["gamma", "beta", "alpha"]  # unscored 2, 1, 0
    page.locator("#filter").fill("BET")
    assert models(page) == ["beta"]
    assert page.locator("#status").text_content() == "1 of 3 models, sorted by Unscored, highest first."
    plain = page.locator("#drift > details table")
    plain.locator("thead button").last.click()
    assert plain.locator("tbody td:last-child").all_text_contents() == ["10", "9"]


def test_the_drill_down_shows_the_responses_of_the_cell(page: Any) -> None:
    for name, choice in {"order": "worst", "model": "alpha", "rubric": "reverie", "level": "moderate"}.items():
        page.locator(f"#pick-{name}").select_option(choice)
    page.wait_for_function("() => location.hash.includes('level=moderate')")
    page.wait_for_function("() => document.querySelector('.verdict').textContent.startsWith('35.0')")
    # 5, 17, ... 89: mean 47; 41, 53, 65, 77, 89 are in the band
    assert page.locator("#cell").text_content() == "8 responses: mean score 47.0, 5 in the band. All texts are here."
    first, second = (page.locator(".response").nth(place) for place in (0, 1))
    assert first.locator(".score").text_content() == "5.0"
    assert first.locator(".verdict").text_content() == "35.0 points below the band"
    assert "prompt-0 · system prompt heldout-0 · 20 words · overall score 40" in first.locator(".about").text_content()
    for text in ("reverie moderate response 1", "Describe scene 1.", "reason 1"):
        assert text in second.text_content()
    second.locator("summary").click()
    assert second.locator("details .said").text_content() == "Write reverie at level moderate."
    assert page.locator(".response").count() == 5
    page.locator("#more").click()
    assert page.locator(".response").count() == 8
    assert page.locator("#more").is_hidden()
    page.locator("#pick-task").select_option("dose_response")
    page.wait_for_function("() => document.querySelector('#cell').textContent.includes('on the target')")
    assert page.locator(".verdict").first.text_content() == "10.0 points below the target"
    page.locator("#pick-task").select_option("rubric_adherence")


def test_texts_that_were_left_out_are_counted_and_a_cell_has_a_link(open_page: Callable[..., Any]) -> None:
    html = page_samples.page("rubric_adherence", most_texts=60)
    page = open_page(html, "#samples?model=beta&rubric=reverie&level=low")
    # three runs of six cells: 20 texts of each run, 3 of each cell
    note = "8 responses: mean score 47.0, 3 in the band. The texts of 3 are here; 5 are left out"
    assert note in page.locator("#cell").text_content()
    assert page.locator(".response").count() == 3
    assert [page.locator(f"#pick-{name}").input_value() for name in ("model", "rubric")] == ["beta", "reverie"]
    assert page.complaints == []


def test_a_second_judge_has_a_leaderboard_of_its_own(open_page: Callable[..., Any]) -> None:
    page = open_page(page_samples.page_of_two_judges())
    headings = page.locator("section > h2").all_text_contents()[:4]
    assert headings[0::2] == ["Leaderboard, judge:  ()", "Leaderboard, judge: m/judge (version 3)"]
    assert [len(page.locator(f"{board} tbody tr").all()) for board in ("#board", "#board-2")] == [2, 1]
    assert page.locator("#filter-2").count() == 0  # there is one model
    assert page.locator("figure.chart").count() == 4
    page.locator("#board-2 .open").click()
    page.wait_for_function("() => document.querySelector('#pick-task').value.includes('m/judge')")
    page.wait_for_function("() => document.querySelector('.response').textContent.includes('judged again')")
    assert page.locator("#pick-model").input_value() == "alpha"
    page.locator("#board .open").last.click()
    page.wait_for_function("() => document.querySelector('#pick-model').value === 'alpha'")
    page.wait_for_function("() => !document.querySelector('.response').textContent.includes('judged again')")
    assert page.complaints == []


def test_it_follows_the_dark_mode_of_the_system_and_has_a_switch(page: Any) -> None:
    dark, light, paper = (
        "rgb(21, 23, 27)",
        "rgb(255, 255, 255)",
        "() => getComputedStyle(document.body).backgroundColor",
    )
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(paper) == dark
    mark = "() => getComputedStyle(document.querySelector('#chart-drift .mark-symbol.role-mark path')).fill"
    assert page.evaluate(mark) == "rgb(78, 168, 224)"  # --c1 on dark, without drawing again
    page.emulate_media(color_scheme="light")
    for theme, colour in (("light", light), ("dark", dark), ("system", light)):
        page.locator("#theme").click()
        assert (page.locator("#theme").text_content(), page.evaluate(paper)) == (f"Theme: {theme}", colour)
        assert page.evaluate("() => localStorage.getItem('cpt-theme')") == theme


def test_a_phone_needs_no_sideways_scrolling(page: Any) -> None:
    drawn = int(page.evaluate("() => document.documentElement.dataset.drawn"))
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_selector(f"html[data-drawn='{drawn + 1}']")
    assert page.evaluate("() => document.documentElement.scrollWidth") == 360
    assert page.locator("#board").bounding_box()["width"] > 360  # the table scrolls in its own region
    widths = [plot.bounding_box()["width"] for plot in page.locator(".plot svg:visible").all()]
    assert max(widths) <= 340
    heights = [control.bounding_box()["height"] for control in page.locator("button:visible, select:visible").all()]
    assert min(heights) >= 24


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.locator(".numbers summary").first.click()
    # as a debugger does, which the page's own policy does not bind; drawings are hidden from readers by their labels
    session = page.context.new_cdp_session(page)
    script = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    session.send("Runtime.evaluate", {"expression": script})
    rules = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]
    faults = "(result) => result.violations.map((fault) => fault.id + fault.nodes[0].html)"
    run = f"axe.run({{exclude: ['.plot svg']}}, {{runOnly: {json.dumps(rules)}}}).then({faults})"
    answer = session.send("Runtime.evaluate", {"expression": run, "awaitPromise": True, "returnByValue": True})
    assert answer["result"]["value"] == []


def test_the_tab_key_leads_from_the_top_through_the_controls(page: Any) -> None:
    def after(key: str) -> str:
        page.keyboard.press(key)
        return str(page.evaluate("() => document.activeElement.id"))

    page.locator(".skip").focus()
    assert page.locator(".skip").bounding_box()["x"] >= 0
    assert [after("Enter"), after("Tab")] == ["main", "filter"]
    page.locator("#pick-model").focus()
    assert [after("Tab") for _ in range(3)] == ["pick-rubric", "pick-level", "pick-order"]


def test_it_prints_in_ink_on_paper_without_its_controls(page: Any) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    visible = [page.locator(part).first.is_visible() for part in ("#filter", "#theme", "#chart-levels_by_model svg")]
    assert visible == [False, False, True]
    assert page.pdf(format="A4")[:5] == b"%PDF-"
