"""The page in a real browser: every task's panel answers while its user writes, draws, speaks or adds values."""

import os
import shutil
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

pytestmark = pytest.mark.slow
SECONDS = 20_000  # milliseconds that an answer may take on a busy machine


def chromium() -> str:
    """Find Debian's browser; install it where that can be done."""
    if shutil.which("chromium") is None and shutil.which("apt-get") is not None and os.geteuid() == 0:
        for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(
                ["apt-get", "-qq", *command], check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            )
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no chromium, and it cannot be installed")
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose microphone hears a tone."""
    tone = tmp_path_factory.mktemp("sound") / "tone.wav"
    with wave.open(str(tone), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((8000 * np.sin(np.arange(32000) / 5)).astype("<i2").tobytes())
    fakes = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={tone}",
    ]
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", *fakes])
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser, everything: Any) -> Iterator[Page]:
    """A page that fails the test for any error in its scripts, and any request to another machine."""
    made = browser.new_page(viewport={"width": 1000, "height": 800})
    problems: list[str] = []
    made.on("pageerror", lambda error: problems.append(str(error)))
    made.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    made.on(
        "request",
        lambda asked: (
            None
            if everything.url in asked.url or asked.url.startswith(("data:", "blob:"))
            else problems.append(asked.url)
        ),
    )
    made.set_default_timeout(SECONDS)
    made.goto(everything.url)
    yield made
    made.close()
    assert not problems


def choose(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()


def answered(page: Page) -> None:
    """Wait until an answer's time is shown."""
    expect(page.locator("#latency")).to_contain_text("ms", timeout=SECONDS)


def test_tokens_appear_with_their_surprise_and_text_is_written_on(page: Page):
    choose(page, "language-model")
    field = page.get_by_label("Write here")
    field.fill("To be")
    expect(page.locator(".token")).to_have_count(5, timeout=SECONDS)
    field.press_sequentially(" or")
    expect(page.locator(".token")).to_have_count(8, timeout=SECONDS)
    field.fill("No")  # another beginning: read anew
    expect(page.locator(".token")).to_have_count(2, timeout=SECONDS)
    assert page.locator(".bars button").count() == 8
    page.locator(".bars button").first.click()
    expect(page.locator(".token")).to_have_count(3, timeout=SECONDS)
    page.get_by_role("button", name="Write on").click()
    expect(page.locator(".token").nth(50)).to_be_attached(timeout=SECONDS)
    stop = page.get_by_role("button", name="Stop")
    if stop.count():
        stop.click()
    answered(page)


def test_a_text_is_judged_as_it_is_typed(page: Page):
    choose(page, "text-classification")
    page.get_by_label("Write a text").fill("a fine film ")
    expect(page.locator(".bars .name")).to_have_count(2, timeout=SECONDS)
    expect(page.locator("svg circle")).to_have_count(3, timeout=SECONDS)
    answered(page)


def test_what_is_named_is_marked(page: Page, everything: Any):
    choose(page, "tagging")
    page.get_by_label("Write a text").fill("\U0001f600 Angela Merkel visited Toyota")
    answered(page)
    expect(page.locator(".out")).to_contain_text("visited", timeout=SECONDS)
    task = everything.host.models["tagging"].task
    (found,) = task.predict(["\U0001f600 Angela Merkel visited Toyota"])
    expect(page.locator("mark")).to_have_count(len(found.entities), timeout=SECONDS)


def test_a_translation_shows_where_it_looked(page: Page):
    choose(page, "translation")
    page.get_by_label("Write a sentence").fill("He is my brother.")
    page.locator("table.map td").first.wait_for(timeout=SECONDS)
    expect(page.locator("ol li")).to_have_count(2, timeout=SECONDS)
    answered(page)


def test_the_microphone_is_heard(page: Page, everything: Any):
    page.context.grant_permissions(["microphone"], origin=everything.url)
    choose(page, "speech")
    page.get_by_role("button", name="Speak").click()
    answered(page)  # packets are acknowledged while it listens
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Speak")).to_be_visible()


def test_a_forecast_moves_with_every_value(page: Page):
    choose(page, "forecasting")
    expect(page.locator("svg path")).to_have_count(3, timeout=SECONDS)
    value = page.get_by_label("Next value")
    for number in ("12.5", "13", ""):
        value.fill(number)
        page.get_by_role("button", name="Add").click()
    expect(page.locator("p[aria-live]")).to_contain_text("missing", timeout=SECONDS)
    value.fill("many")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("many is no number")
    page.get_by_role("button", name="Make up values").click()
    page.wait_for_timeout(1500)
    answered(page)


def test_a_gesture_is_known_while_it_is_drawn(page: Page):
    choose(page, "series-classification")
    board = page.locator("canvas").bounding_box()
    assert board is not None
    page.mouse.move(board["x"] + 40, board["y"] + 40)
    page.mouse.down()
    for step in range(30):
        page.mouse.move(board["x"] + 40 + 4 * step, board["y"] + 40 + 5 * step)
    expect(page.locator(".bars .name")).to_have_count(8, timeout=SECONDS)
    assert not page.locator(".fired").inner_text()
    page.mouse.up()
    expect(page.locator(".fired")).to_contain_text("step", timeout=SECONDS)
    answered(page)


def test_the_keyboard_reaches_everything(page: Page):
    expect(page.locator("#models button")).to_have_count(7)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "language-model"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="text-classification")).to_be_visible()


def test_nothing_is_cut_off_on_a_phone(page: Page, tmp_path: Path):
    page.set_viewport_size({"width": 360, "height": 740})
    for name in page.locator("#models button").all_inner_texts():
        choose(page, name)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth <= 360"), name
        page.screenshot(path=tmp_path / f"{name}.png")


def test_a_key_is_asked_for(browser: Browser, start: Any):
    with start("language-model", api_keys=("secret",)) as running:
        page = browser.new_page()
        page.goto(running.url)
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Enter").click()
        page.get_by_label("API key").fill("secret")
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_role("heading", name="language-model")).to_be_visible(timeout=SECONDS)
        answered(page)
        page.close()


def test_a_stream_goes_on_where_the_server_comes_back(browser: Browser, start: Any):
    with start("language-model", limits={"idle_seconds": 0.5}) as running:
        page = browser.new_page()
        page.goto(running.url)
        page.get_by_label("Write here").fill("To be")
        expect(page.locator(".token")).to_have_count(5, timeout=SECONDS)
        expect(page.get_by_role("alert")).to_contain_text("nothing came for 0.5 seconds", timeout=SECONDS)
        page.get_by_label("Write here").press_sequentially(" or")
        expect(page.locator(".token")).to_have_count(8, timeout=SECONDS)
        page.close()
