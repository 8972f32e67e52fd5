"""A Chromium without a window, and the page `/compare` in it.

The browser is the one that the system has: nothing is downloaded.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM: Final = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CHROMEDRIVER: Final = os.environ.get("CHROMEDRIVER", "/usr/bin/chromedriver")

BOUND: Final = 60
"""The longest time, in seconds, to wait for a condition."""

FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # a container runs as root, for which the sandbox does not start
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=BackForwardCache",  # a page that was left is of no use here
    "--window-size=1280,600",
)


# A script of one line asks for both styles at once. Selenium's own methods send a long script for each element.
TEXTS: Final = """
return [...document.querySelectorAll(arguments[0])].map((each) => each.checkVisibility() ? each.innerText.trim() : "");
"""
STATES: Final = "return [...document.querySelectorAll('.answer')].map((each) => each.dataset.state ?? null);"
POSITIONS: Final = "return [...document.querySelectorAll('progress')].map((each) => each.position);"


def missing() -> str | None:
    """Name the programs that are not installed; None if both are."""
    absent = [path for path in (CHROMIUM, CHROMEDRIVER) if shutil.which(path) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


@contextmanager
def running(profile: Path) -> Iterator[webdriver.Chrome]:
    """Run the browser with a profile of its own until the block ends."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    # Selenium would download a program whose path is not given.
    driver = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@attrs.frozen
class Page:
    """The page `/compare`, as a user sees and operates it."""

    driver: webdriver.Chrome
    base: str

    def open(self) -> None:
        self.driver.get(f"{self.base}/compare")

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def ask(self, delay: str, others: str = "") -> None:
        """Fill the form and press the button."""
        for name, text in (("delay", delay), ("others", others)):
            field = self.find(f"#{name}")
            field.clear()
            field.send_keys(text)
        self.find("#go").click()

    def press(self, *keys: str) -> None:
        """Press keys wherever the focus is."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def tab_to(self, selector: str) -> None:
        """Press the Tab key until an element has the focus."""
        for _ in range(30):
            if self.driver.switch_to.active_element == self.find(selector):
                return
            self.press(Keys.TAB)
        raise AssertionError(f"the Tab key never reaches {selector}")

    def texts(self, part: str) -> list[str]:
        """Return the visible text of one part of the page for each style."""
        found: list[str] = self.script(TEXTS, f".answer [data-part='{part}']")
        return found

    def states(self) -> list[str | None]:
        found: list[str | None] = self.script(STATES)
        return found

    def positions(self) -> list[float]:
        """Return the positions of the progress bars: 0 to 1, or -1 if indeterminate."""
        return list(map(float, self.script(POSITIONS)))

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        WebDriverWait(self.driver, BOUND, poll_frequency=0.02).until(lambda _: condition())

    def until_both(self, state: str) -> None:
        self.until(lambda: self.states() == [state, state])

    def script(self, text: str, *arguments: object) -> Any:
        """Run the body of a JavaScript function in the page, and return its result."""
        return self.driver.execute_script(text, *arguments)

    def emulate(self, **features: str) -> None:
        """Override media features such as `prefers_color_scheme`."""
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})

    def resize(self, width: int, height: int) -> None:
        """Emulate a mobile device with a screen of this size, in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def complaints(self) -> list[str]:
        """Return the messages in the browser's console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def reset(self) -> None:
        """Drop every override and complaint.

        The next page takes the place of this one in the same process; an empty page between them would need another.
        """
        self.emulate()
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.complaints()
