"""Headless Chromium in front of the Space: what a person does, at a desk, in the dark, on a phone, by keyboard."""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
RESULT_MS = 300_000
PAINTED = '[data-part="canvas"][data-shown*="/"]'
FOCUSED = "() => { const e = document.activeElement; return e.dataset.part || e.closest('[id]')?.id || e.tagName; }"
SCREENSHOTS = os.environ.get("CMR_HF_SCREENSHOTS")


@pytest.fixture
def page(browser, space) -> Iterator[object]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.goto(space[0])
    opened.wait_for_selector("#example")
    yield opened
    context.close()
    assert not faults


def look(page, name: str, whole: bool = True) -> None:
    """Keeps a picture of the page where somebody wants to look at it."""
    if SCREENSHOTS:
        page.wait_for_timeout(700)
        page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"), full_page=whole)


def show_example(page) -> None:
    page.click("#example")
    page.wait_for_selector(PAINTED, timeout=RESULT_MS)
    page.wait_for_selector("#downloads a", timeout=RESULT_MS)


def shown(page) -> tuple[int, int, int]:
    """Series, slice and phase that are painted."""
    page.wait_for_selector(PAINTED)
    return tuple(int(part) for part in page.get_attribute('[data-part="canvas"]', "data-shown").split("/"))


def test_when_a_study_is_uploaded_then_it_is_scrolled_played_downloaded_and_forgotten(page, space, small_zip):
    page.set_input_files("#upload input[type=file]", str(small_zip))
    page.wait_for_selector(PAINTED, timeout=RESULT_MS)
    page.wait_for_selector("#downloads a", timeout=RESULT_MS)
    look(page, "upload")
    assert "Short-axis cine" in page.inner_text("table.series")
    assert "LV cavity" in page.inner_text("table.series")

    _, before, phase = shown(page)
    page.hover('[data-part="stage"]')
    page.mouse.wheel(0, 120)
    page.wait_for_function(f"() => document.querySelector('{PAINTED}').dataset.shown.split('/')[1] === '{before + 1}'")
    page.click('[data-part="play"]')
    page.wait_for_function(f"() => document.querySelector('{PAINTED}').dataset.shown.split('/')[2] !== '{phase}'")
    assert page.get_attribute('[data-part="play"]', "aria-pressed") == "true"
    page.click('[data-part="play"]')
    page.click('[data-part="to-ES"]')
    assert "ES" in page.text_content("svg.curve")

    with page.expect_download() as waited:
        page.click('#downloads a[download="assessment.json"]')
    made = json.loads(Path(waited.value.path()).read_text())
    assert f"{made['measures']['lv_edv']['value']:.0f}" in page.inner_text("#figures .tiles")
    for name in ("report.html", "masks_nifti.zip", "dicom_seg.zip", "cmr_assessment.zip"):
        with page.expect_download() as waited:
            page.click(f'#downloads a[download="{name}"]')
        assert waited.value.failure() is None

    folder = space[1]
    assert [one for one in (folder / "private").iterdir() if one.name != "probe"]
    page.goto("about:blank")
    for _ in range(200):
        left = [one for one in (folder / "private").iterdir() if one.name != "probe"]
        if not left:
            break
        time.sleep(0.3)
    assert not left, "files were kept after the page was closed"


def test_when_masks_are_made_transparent_or_outlined_then_the_picture_changes(page):
    show_example(page)
    pixels = "() => document.querySelector('[data-part=canvas]').toDataURL()"
    seen = {page.evaluate(pixels)}
    page.locator('[data-part="opacity"]').fill("0")
    seen.add(page.evaluate(pixels))
    page.locator('[data-part="opacity"]').fill("90")
    seen.add(page.evaluate(pixels))
    page.check('[data-part="outlines"]')
    look(page, "outlines")
    seen.add(page.evaluate(pixels))
    page.uncheck('[data-part="label-1"]')
    seen.add(page.evaluate(pixels))
    page.locator('[data-part="contrast"]').fill("180")
    seen.add(page.evaluate(pixels))
    page.check('[data-part="near"]')
    look(page, "near")
    seen.add(page.evaluate(pixels))
    assert len(seen) == 7


def test_when_a_wrong_file_is_uploaded_then_the_page_says_what_to_do_and_goes_on(page, tmp_path):
    wrong = tmp_path / "Mustermann.txt"
    wrong.write_text("hello")
    page.set_input_files("#upload input[type=file]", str(wrong))
    page.wait_for_selector('#status [role="alert"]', timeout=RESULT_MS)
    text = page.inner_text("#status")
    assert "This page takes a DICOM study" in text
    assert "Mustermann" not in text
    look(page, "wrong_file")
    show_example(page)


def test_when_the_keyboard_alone_is_used_then_everything_is_reached(page):
    show_example(page)
    reached = set()
    page.evaluate("() => document.activeElement.blur()")
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(FOCUSED))
    assert {"stage", "slice", "phase", "play", "opacity", "outlines", "example"} <= reached
    page.focus('[data-part="stage"]')
    start = shown(page)
    stack, at, phase = start
    for key, expected in (
        ("ArrowUp", (stack, at + 1, phase)),
        ("ArrowDown", start),
        ("ArrowLeft", (stack, at, (phase - 1) % 13)),
    ):
        page.keyboard.press(key)
        assert shown(page) == expected


def faults_of(page) -> list[str]:
    """Serious and critical faults that axe finds, with the place of each."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install 'cmr_hf[browser]'")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_when_the_page_is_looked_at_then_it_fits_and_axe_finds_no_serious_fault(browser, space, theme, width):
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=theme)
    page = context.new_page()
    page.goto(f"{space[0]}/?__theme={theme}")
    page.wait_for_selector("#example")
    look(page, f"start_{theme}_{width}")
    faults = faults_of(page)
    show_example(page)
    look(page, f"result_{theme}_{width}")
    faults += faults_of(page)
    assert not faults, "\n".join(faults)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert page.evaluate("() => document.body.classList.contains('dark')") == (theme == "dark")
    assert "Research use only" in page.inner_text("#head")
    context.close()


def test_when_others_wait_then_the_place_in_the_queue_is_shown(browser, space, small_zip):
    contexts = [browser.new_context() for _ in range(3)]
    pages = [context.new_page() for context in contexts]
    for page in pages:
        page.goto(space[0])
        page.wait_for_selector("#example")
    for page in pages:
        page.set_input_files("#upload input[type=file]", str(small_zip))
    # whoever comes second or third waits; which of the pages that is, their uploads decide
    place, until, waiting = re.compile(r"(queue|position)\D*\d+\s*/\s*\d+", re.IGNORECASE), time.monotonic() + 150, []
    while not waiting and time.monotonic() < until:
        waiting = [page for page in pages if place.search(page.inner_text("#status"))]
        pages[0].wait_for_timeout(100)
    assert waiting
    look(waiting[-1], "queue")
    for page in pages:
        page.wait_for_selector(PAINTED, timeout=RESULT_MS)
    for context in contexts:
        context.close()
