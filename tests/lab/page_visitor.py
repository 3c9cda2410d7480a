"""What somebody does and sees at the dashboard's page; each is run beside the browser."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from browser import Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

TIMEOUT_S = 60.0


def visit(driver: Driver, url: str) -> None:
    """As a link is opened: nothing of an earlier visit is there."""
    driver.get("about:blank")
    driver.get(url)


def visit_anew(driver: Driver, url: str) -> None:
    """The same, and the tab remembers no token either."""
    driver.get(url.partition("#")[0])
    driver.execute_script("sessionStorage.clear()")
    visit(driver, url)


def run(driver: Driver, script: str) -> Any:
    return driver.execute_script(script)


def wait_for(driver: Driver, condition: str) -> str:
    """Until the JavaScript expression holds; its value as text."""
    script = f"const found = ({condition}); return found && String(found)"
    waiting = WebDriverWait(driver, TIMEOUT_S, poll_frequency=0.1)
    return str(waiting.until(lambda _: driver.execute_script(script), condition))


def read_rows(driver: Driver, part: str) -> list[list[str]]:
    """The cells of a part's table."""
    return driver.execute_script(  # type: ignore[no-any-return]
        """return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)]
             .map((row) => [...row.cells].map((cell) => cell.textContent))""",
        part,
    )


def read_complaints(driver: Driver) -> list[str]:
    """What the browser's console says is wrong, since the last time."""
    return [
        each["message"]
        for each in driver.get_log("browser")
        if each["level"] in ("SEVERE", "WARNING")
    ]


def press_by_keyboard(driver: Driver, label: str, *keys: str) -> str:
    """Tab until the button of that label has the focus, then type; the label that had it then."""
    driver.execute_script("document.activeElement?.blur(); window.scrollTo(0, 0)")
    for _ in range(200):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        focused = driver.switch_to.active_element
        if label in (focused.get_attribute("aria-label") or focused.text):
            focused.send_keys(*keys)
            return label
    raise AssertionError(f"no Tab leads to {label}")


def send_keys(driver: Driver, *keys: str) -> None:
    driver.switch_to.active_element.send_keys(*keys)


def measure_responsiveness(driver: Driver, seconds: float) -> float:
    """The longest time (s) between two turns of the page's event loop, of so many seconds."""
    return float(
        driver.execute_async_script(
            """const [seconds, done] = arguments;
               const start = performance.now();
               let last = start;
               let longest = 0;
               const timer = setInterval(() => {
                 const now = performance.now();
                 longest = Math.max(longest, now - last);
                 last = now;
                 if (now - start > seconds * 1000) {
                   clearInterval(timer);
                   done(longest / 1000);
                 }
               }, 5);""",
            seconds,
        )
    )


def measure_heap(driver: Driver) -> tuple[int, int]:
    """Octets of JavaScript's heap after a collection, and nodes of the document."""
    driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    used = driver.execute_cdp_cmd("Runtime.getHeapUsage", {})["usedSize"]
    return int(used), int(driver.execute_script("return document.querySelectorAll('*').length"))


def use_scheme(driver: Driver, scheme: str) -> str:
    """Light or dark, as the system prefers it; the ground's colour then."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    return str(driver.execute_script("return getComputedStyle(document.body).backgroundColor"))


def take_screenshot(driver: Driver, path: str) -> None:
    time.sleep(0.3)  # a frame with the new colours
    Path(path).write_bytes(driver.get_screenshot_as_png())


def ask_from_elsewhere(driver: Driver, url: str) -> str:
    """What a page of another origin gets of the dashboard at `url`: how each try went."""
    driver.get("about:blank")
    return str(
        driver.execute_async_script(
            """const [url, done] = arguments;
               const read = (path, options) => fetch(url + path, options).then((r) => r.text());
               const post = { method: "POST", body: "{}" };
               const tries = [read("/"), read("/api/v1/sessions"), read("/api/v1/recover", post)];
               Promise.allSettled(tries).then((all) => done(all.map((one) => one.status).join()));
            """,
            url,
        )
    )


def read_text(driver: Driver) -> str:
    return driver.find_element(By.TAG_NAME, "body").text
