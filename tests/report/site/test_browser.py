"""The pages in a real browser: from disk, with the network off, by keyboard, in light and dark, among hostile names."""

import shutil
from pathlib import Path

import pytest

from sublim_eval.report.site.build import Live, build
from tests.helpers.boards import HOSTILE, arm, board_of, hostile_rows

AXE = Path(__file__).parents[2] / "helpers" / "axe" / "axe.min.js"

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser():
    """Chromium, whatever it is called here; without one the pages are looked at by nobody, and that is said."""
    api = pytest.importorskip("playwright.sync_api", reason="no Playwright here: pip install -e '.[dev]'")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium here, so the pages were not looked at: apt-get install chromium")
    with api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def look(browser):
    """Opens a page with the network off; afterwards nothing may have been complained of or asked for."""
    contexts, wrong = [], []

    def opened(file: Path, *, hash: str = "", **how):
        context = browser.new_context(**{"offline": True, "viewport": {"width": 1300, "height": 900}, **how})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: wrong.append(str(e)))
        page.on("dialog", lambda d: (wrong.append(f"dialog {d.message}"), d.dismiss()))
        page.on("request", lambda r: None if r.url.startswith("file://") else wrong.append(r.url))
        page.goto(file.resolve().as_uri() + hash)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong, wrong


def shown(page) -> list[dict]:
    """The lines that the table shows, in the order of the screen."""
    return page.evaluate("table.getRows('display').filter((r) => '_row' in r).map((r) => r.getData())")


def model_page(site: Path, name: str) -> Path:
    (file,) = (site / "models").glob(f"*{name}-????????.html")
    return file


def test_every_page_opens_from_disk_without_a_complaint(site, look):
    for file in (site / "index.html", site / "compare.html", model_page(site, "owl")):
        page = look(file)
        page.evaluate("document.querySelectorAll('[data-chart]').forEach((e) => drawWaiting(e))")
        page.wait_for_function("[...document.querySelectorAll('.chart')].every((e) => e.querySelector('svg.marks'))")
        assert page.locator(".chart.failed").count() == 0


def test_sorting_by_mouse_and_key_is_right_and_stands_in_the_address(site, look):
    page = look(site / "index.html")
    page.get_by_text("Lines", exact=True).click()
    page.get_by_label("every student").check()
    page.get_by_role("button", name="Share, and its seeds").click()
    page.wait_for_function("location.hash.includes('sort=value%3Adesc')")
    held = shown(page)
    assert len([line for line in held if line["group"] == "base"]) > 10
    for group in {line["group"] for line in held}:
        values = [line["value"] for line in held if line["group"] == group]
        assert values == sorted(values, reverse=True), group
    page.get_by_role("button", name="Share, and its seeds").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("location.hash.includes('sort=value%3Aasc')")
    ours = [line["value"] for line in shown(page) if line["group"] == "base"]
    assert ours == sorted(ours)
    assert "lowest first" in page.inner_text("#status")


def test_unknown_gaps_come_last_whichever_way(site, look):
    for way in ("asc", "desc"):
        gaps = [line["gap"] for line in shown(look(site / "index.html", hash=f"#sort=gap:{way}"))]
        known = [gap is not None for gap in gaps[: gaps.index(None) if None in gaps else None]]
        assert known and all(known) and gaps[-1] is None


def test_filters_are_right_and_a_view_can_be_linked(site, look):
    page = look(site / "index.html")
    everything = shown(page)
    page.fill("#q", "owl student")
    words = [line for line in everything if line["trait"] == "owl" or "owl" in line["note"] or "owl" in line["model"]]
    assert {line["id"] for line in shown(page)} <= {line["id"] for line in words} and shown(page)
    page.fill("#q", "")
    page.select_option("#trait", "owl")
    assert {line["id"] for line in shown(page)} == {line["id"] for line in everything if line["trait"] == "owl"}
    page.evaluate("document.querySelector('#columns input[value=sampling]').click()")
    address = page.evaluate("location.hash")
    again = look(site / "index.html", hash=address)
    assert [line["id"] for line in shown(again)] == [line["id"] for line in shown(page)]
    assert again.locator(".tabulator-col[tabulator-field=sampling]").is_visible()
    again.get_by_role("button", name="Reset").click()
    assert len(shown(again)) == len(everything) and again.evaluate("location.hash") == ""


def test_the_keyboard_alone_reaches_everything(site, look):
    page = look(site / "index.html")
    reached = []
    here = "((e) => (e.id || e.ariaLabel || e.innerText || '').trim())(document.activeElement)"
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(here))
    for name in (
        "Skip to content",
        "Board",
        "Compare two",
        "theme",
        "q",
        "base",
        "trait",
        "verdict",
        "Lines",
        "Columns",
    ):
        assert name in reached, name
    assert "reset" in reached and "Gap to its control" in reached
    assert any(name == "quick/owl" for name in reached)
    assert any(name.startswith("details of quick/owl") for name in reached)
    first = page.locator("button.more").first
    first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#details").is_visible() and "sampling" in page.inner_text("#details")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className") == "more"
    page.keyboard.press("ArrowDown")
    page.wait_for_function("document.activeElement !== document.querySelector('button.more')")
    assert page.evaluate("document.activeElement.className") == "more"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(site, look, scheme):
    for file in (site / "index.html", model_page(site, "owl"), *([site / "compare.html"] * (scheme == "light"))):
        page = look(file, color_scheme=scheme)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run({resultTypes: ['violations'], preload: false})")["violations"]
        serious = [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")]
        assert not serious, f"{file.name}, {scheme}: {serious}"


def test_a_phone_needs_no_sideways_scrolling(site, look):
    for file in (site / "index.html", site / "compare.html", model_page(site, "owl")):
        page = look(file, viewport={"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, file.name


def test_paper_shows_the_whole_table_and_no_tools(site, look):
    page = look(site / "index.html", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    inks = "[...document.querySelectorAll('.role-axis-label text')].map((e) => getComputedStyle(e).fill)"
    assert set(page.evaluate(inks)) == {"rgb(27, 27, 26)"}, "dark ink on white paper, whatever the screen was"
    assert not page.locator("#tools").is_visible()
    assert page.locator(".tabulator-print-table tbody tr").count() > len(shown(page))
    assert "object" not in page.inner_text(".tabulator-print-table") and "Evidence" not in page.inner_text(
        ".tabulator-print-table"
    )


def test_compare_says_what_is_known_of_an_order(site, look, tmp_path):
    page = look(site / "compare.html")
    names = page.locator("#first option").all_inner_texts()
    assert any("quick/owl" in name for name in names)
    page.select_option("#first", index=0)
    page.select_option("#second", index=0)
    assert page.inner_text("#order") == "Choose two different lines."
    assert "a=" in page.evaluate("location.hash")


def test_nothing_of_a_stranger_runs(look, tmp_path):
    board = board_of([*arm("owl", [0.3, 0.5]), *hostile_rows()])
    site = build(board, tmp_path / "out").page.parent
    pages = [site / "index.html", site / "compare.html", *sorted((site / "models").glob("*.html"))[::20]]
    for file in pages:
        page = look(file)
        page.evaluate("document.querySelectorAll('[data-chart]').forEach((e) => drawWaiting(e))")
        assert page.evaluate("window.ran") is None
        assert page.locator("img, iframe, object, [onload], [onerror], [onmouseover]").count() == 0
        assert page.evaluate("[...document.links].every((a) => a.protocol === 'file:')")
    page = look(site / "index.html")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".tabulator-print-table tr").count() > len(HOSTILE)
    assert page.evaluate("window.ran") is None and page.locator("img").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    texts = {line["model"] for line in shown(page)}
    assert HOSTILE[0] in texts and HOSTILE[9] in texts
    page.locator("button.more").nth(3).click()
    assert page.evaluate("window.ran") is None
    value = next(line for line in shown(page) if line["model"] == "numbers that are none")
    assert (value["value"], value["low"], value["high"]) == (None, None, None)


def test_an_open_page_shows_the_next_version_and_disturbs_nobody(look, tmp_path):
    build(board_of(arm("owl", [0.3, 0.5])), tmp_path / "out", live=Live(1, "aa"))
    page = look(tmp_path / "out" / "index.html", hash="#kinds=arm")
    assert len(shown(page)) == 1
    page.locator("button.more").first.click()
    build(board_of([*arm("owl", [0.3, 0.5]), *arm("new", [0.2, 0.4])]), tmp_path / "out", live=Live(1, "bb"))
    page.wait_for_timeout(1500)
    assert page.locator("#details").is_visible(), "nobody loses what is being read"
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.wait_for_selector("body[data-written=bb]")
    page.locator("button.more").nth(1).wait_for()
    assert len(shown(page)) == 2
    assert page.evaluate("location.hash") == "#kinds=arm"
    page.get_by_role("button", name="Stop looking").click()
    assert page.locator("#live").count() == 0
