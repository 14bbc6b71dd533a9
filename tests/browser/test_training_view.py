"""What Fine-tune Mapping shows of its training, in a real browser, on a plain page."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from browser_page import browser, needs_browser, site

pytestmark = needs_browser

PICTURE = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="


def message(**changes) -> dict:
    curves = {"D sketch": [[k, 1 + k % 3] for k in range(40)], "G <b>sketch</b>": [[k, 2.0] for k in range(40)]}
    usual = {"token": "a", "node": "5", "state": "training", "step": 40, "total": 150, "seconds": 20.0}
    return {**usual, "seconds_left": 200.0, "curves": curves, "picture": PICTURE, "sketches": PICTURE, **changes}


@pytest.fixture
def page(site, browser):
    page = browser.new_page()
    page.goto(site.replace("sketch_pad.html", "training_view.html"))
    page.wait_for_function("window.view")
    yield page
    page.close()


def show(page, **changes) -> str:
    page.evaluate("message => view.update(message)", message(**changes))
    return page.locator(".row .text").inner_text()


def test_it_is_quiet_before_a_training(page):
    assert page.get_by_text("Shows the training while it runs.").is_visible()
    assert not page.locator("button:visible, img:visible").count()


def test_it_shows_samples_curves_and_the_time_left(page):
    assert show(page) == "Step 40 of 150, 3 min left"
    sketches, samples = page.locator("#view img").all()
    assert sketches.is_visible() and samples.is_visible() and page.locator("canvas").is_visible()
    assert samples.bounding_box()["width"] > 3 * sketches.bounding_box()["width"], "the samples are the larger"
    assert samples.bounding_box()["height"] > 0.5 * page.locator("#view").bounding_box()["height"]
    assert page.locator(".legend span").all_inner_texts() == ["D sketch", "G <b>sketch</b>"]
    ink = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, k) => k % 4 == 3 && v).length"
    assert page.locator("canvas").evaluate(ink) > 500
    inside = "e => [...e.children].every(c => c.getBoundingClientRect().bottom <= e.getBoundingClientRect().bottom + 1)"
    assert page.locator("#view").evaluate(inside)


def test_it_is_quiet_again_when_the_training_is_of_another_workflow(page):
    show(page)
    page.evaluate("view.clear()")
    test_it_is_quiet_before_a_training(page)
    assert not page.locator("canvas:visible, .legend span").count() and show(page) == "Step 40 of 150, 3 min left"


def test_stop_and_keep_is_sent_once(page):
    show(page)
    button = page.get_by_role("button", name="Stop and keep")
    button.click()
    assert page.evaluate("stopped") == ["a"] and button.is_disabled()
    assert "Stopping after this step" in show(page, state="stopping") and button.is_disabled()
    assert show(page, state="stopped", step=41) == "Step 41 of 150, 20 s, Stopped; the model is kept."
    assert not button.is_visible()


def test_an_early_use_is_offered_once_the_samples_are_near(page):
    show(page, step=5)
    assert page.get_by_role("button").inner_text() == "Stop and keep"
    show(page, step=20)
    assert page.get_by_role("button").inner_text() == "Use now (stop and keep)"


def test_a_stopped_training_can_go_on(page):
    show(page)
    button = page.get_by_role("button", name="Go on")
    assert not button.is_visible()
    show(page, state="stopped")
    button.click()
    assert page.evaluate("wentOn") == 1 and button.is_disabled()
    show(page, token="b", state="done")
    assert not button.is_visible()


def test_a_click_enlarges_the_samples(page):
    show(page)
    page.get_by_alt_text("Samples before and after").click()
    large = page.locator("dialog img")
    assert large.bounding_box()["width"] > 0.9 * page.viewport_size["width"]
    page.keyboard.press("Escape")
    large.wait_for(state="detached")
    page.get_by_alt_text("Your sketches").click()
    large.click()
    large.wait_for(state="detached")


def test_a_message_is_known_again(page):
    show(page)
    assert page.evaluate("message => view.shows(message)", message())
    for change in ({"token": "b"}, {"state": "done"}, {"step": 41}, {"picture": ""}):
        assert not page.evaluate("message => view.shows(message)", message(**change))


def test_a_click_that_fails_can_be_repeated(page):
    page.evaluate("works = false")
    show(page)
    page.get_by_role("button", name="Stop and keep").click()
    assert page.get_by_text("Stopping did not work").is_visible()
    show(page, step=41)
    assert page.get_by_role("button", name="Stop and keep").is_enabled()


def test_the_next_training_can_be_stopped_again(page):
    show(page)
    page.get_by_role("button", name="Stop and keep").click()
    show(page, state="stopped")
    show(page, token="b", step=1)
    assert page.get_by_role("button", name="Stop and keep").is_enabled()


def test_times_are_told_for_people(page):
    told = [page.evaluate("inWords", seconds) for seconds in (0.2, 42, 100, 3000, 7500)]
    assert told == ["1 s", "42 s", "2 min", "50 min", "2 h 5 min"]
