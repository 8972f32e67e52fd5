import re
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.common.exceptions import JavascriptException
from selenium.webdriver.common.keys import Keys

from latebin.site.compare_page import EXAMPLES
from latebin.testing.process import ServiceProcess, serving
from tests.support.browser import Page, missing, running
from tests.support.process import until

GROUND = {"light": "rgb(245, 246, 248)", "dark": "rgb(18, 21, 28)"}


@pytest.fixture(scope="module")
def process() -> Iterator[ServiceProcess]:
    with serving() as process:
        yield process


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    absent = missing()
    if absent:
        pytest.skip(absent)
    with running(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(driver: Any, process: ServiceProcess) -> Iterator[Page]:
    page = Page(driver, f"http://127.0.0.1:{process.port}")
    page.open()
    yield page
    page.reset()


def figures(page: Page, part: str) -> list[float]:
    return [float(text.removesuffix(" ms")) for text in page.texts(part)]


def test_answers(page: Page) -> None:
    """Both bars fill, and every figure is that of the service."""
    page.ask("100ms..200ms")
    page.until_both("answered")
    assert page.positions() == [1, 1]
    asked, measured, late = (figures(page, part) for part in ("asked", "measured", "lateness"))
    for index, headers in enumerate(page.texts("headers")):
        assert f"server-timing: delay;dur={measured[index]:.3f}, asked;dur={asked[index]:.3f}" in headers.splitlines()
        assert late[index] == pytest.approx(measured[index] - asked[index], abs=0.0005)
        assert page.texts("state")[index] == f"answered, {late[index]:.3f} ms late"
    assert page.texts("status") == ["200 OK", "200 OK"]
    assert all(text.endswith(", 52 B") for text in page.texts("all-after"))
    # The browser's clock is coarse on purpose: it may be off by a tenth of a millisecond.
    assert all(
        browser > service - 0.2 for browser, service in zip(figures(page, "headers-after"), measured, strict=True)
    )
    assert page.complaints() == []


def test_a_repeated_request(page: Page) -> None:
    """The figure says that the browser repeated a request when its connection broke."""
    page.ask("200ms")
    page.until_both("answered")
    assert not any("repeated" in text for text in page.texts("headers-after"))

    def failed_again() -> bool:
        page.ask("200ms")
        page.until_both("answered")
        page.ask("200ms", others="fault=reset")
        page.until_both("failed")
        for state in page.texts("state"):
            after = float(re.findall(r"[0-9.]+", state)[0])
            assert state.endswith(", the browser repeated the request") == (after > 392)
        return "repeated" in "".join(page.texts("state"))

    # A browser repeats a request only on a connection that it had kept.
    assert any(failed_again() for _ in range(10))
    page.find("[name=same]").click()

    def answered_again() -> bool:
        page.ask("200ms", others="fault=reset:50%25")
        page.until(lambda: set(page.states()) <= {"failed", "answered"})
        repeated = [text for text in page.texts("headers-after") if text.endswith(", the browser repeated the request")]
        assert all(float(text.partition(" ")[0]) > 390 for text in repeated)
        return bool(repeated)

    # Each request is repeated with even odds.
    assert any(answered_again() for _ in range(30))


def test_same_draw(page: Page) -> None:
    """Both styles get the same draw, unless the choice is switched off."""
    page.ask("1ms..200ms")
    page.until_both("answered")
    klein, raw = page.texts("request")
    assert re.fullmatch(r"GET /delayed\?delay=1ms..200ms&seed=\d+&n=1", klein)
    assert raw == klein.replace("/delayed", "/raw/delayed")
    assert len(set(figures(page, "asked"))) == 1
    page.find("[name=same]").click()
    page.ask("1ms..200ms")
    page.until(lambda: page.texts("request")[0] == "GET /delayed?delay=1ms..200ms")
    page.until_both("answered")
    assert len(set(figures(page, "asked"))) == 2


def test_pace(page: Page) -> None:
    """A bar runs by the asked delay, and is not full before the answer."""
    page.script("""
        window.seen = [];
        const look = () => {
          const answers = [...document.querySelectorAll(".answer")];
          seen.push(answers.map((each) => [each.dataset.state, each.querySelector("progress").position]));
          if (!answers.every((each) => each.dataset.state === "answered")) requestAnimationFrame(look);
        };
        look();
    """)
    page.ask("3s")
    page.until_both("answered")
    seen = [tuple(side) for frame in page.script("return seen") for side in frame]
    waiting = [position for state, position in seen if state == "waiting"]
    assert max(waiting) < 1
    assert len({position for position in waiting if 0 < position < 0.9}) > 5
    assert page.positions() == [1, 1]


def test_refusal(page: Page) -> None:
    """A wrong expression shows the refusals of both styles, and marks the field."""
    page.ask("soon")
    page.until_both("refused")
    assert page.texts("state") == ["refused: 400 Bad Request"] * 2
    for detail, accepted in zip(page.texts("detail"), page.texts("accepted"), strict=True):
        assert detail.startswith('Invalid delay "')
        assert "at character 0" in detail
        assert accepted.startswith("Accepted: a delay such as 250ms")
    page.until(lambda: page.find("#delay").get_attribute("aria-invalid") == "true")
    page.ask("1ms")
    page.until_both("answered")
    assert "".join(page.texts("detail") + page.texts("accepted")) == ""
    page.until(lambda: page.find("#delay").get_attribute("aria-invalid") == "false")


def test_markup_is_text(page: Page) -> None:
    """Markup in an answer is shown as text."""
    page.ask("1ms", "<b>x=1")
    page.until_both("refused")
    assert page.texts("detail") == ['Unknown parameter "<b>x".'] * 2
    page.ask("<b>1ms</b>")
    page.until(lambda: all('"<b>1ms</b>"' in text for text in page.texts("detail")))
    assert page.all("article b") == []


@pytest.mark.parametrize("fault", ["reset", "close", "garbage"])
def test_fault(page: Page, fault: str) -> None:
    """An answer that never came is a network error, and its bar is not full."""
    page.ask("50ms", f"fault={fault}")
    page.until_both("failed")
    assert all(text.startswith("network error after ") for text in page.texts("state"))
    assert all(text.startswith("The connection broke before an answer came.") for text in page.texts("detail"))
    assert max(page.positions()) < 1
    assert page.texts("status") == ["", ""]


def test_truncated(page: Page) -> None:
    """An answer that breaks off keeps its headers, and is a network error."""
    page.ask("50ms", "fault=truncate&size=1k")
    page.until_both("failed")
    assert page.texts("status") == ["200 OK", "200 OK"]
    assert all("broke inside the answer" in text for text in page.texts("detail"))
    assert max(page.positions()) < 1


def test_headers_at_once(page: Page) -> None:
    """There is no measured figure when the headers do not wait."""
    page.ask("100ms", "at=body")
    page.until_both("answered")
    assert page.texts("state") == ["answered", "answered"]
    assert figures(page, "asked") == [100, 100]
    assert page.texts("measured") == page.texts("lateness") == ["", ""]


@pytest.mark.parametrize("others", ["", "at=body"])
@pytest.mark.parametrize("leave", ["button", "Escape"])
def test_abort(page: Page, process: ServiceProcess, leave: str, others: str) -> None:
    """Aborting a run cancels both requests, and the service sees both clients leave."""
    before = len(process.log())
    page.ask("1m", others)
    # When the bars know their pace, /predict was answered, which was asked after the two that wait.
    page.until(lambda: min(page.positions()) > 0 and (not others or page.texts("status") == ["200 OK"] * 2))
    page.find("#abort").click() if leave == "button" else page.press(Keys.ESCAPE)
    page.until_both("aborted")
    until(lambda: len(departures(process.log()[before:])) == 2)
    assert set(departures(process.log()[before:])) == {("klein", "left"), ("resource", "left")}
    assert max(page.positions()) < 1
    assert page.find("#abort").get_attribute("aria-disabled") == "true"


def departures(lines: str) -> list[tuple[str, str]]:
    """Read the styles and the ends of the requests that wait a minute."""
    return re.findall(r" (\w+) GET (?:/raw)?/delayed\S* (\w+) asked=60000.0ms", lines)


def test_keyboard(page: Page) -> None:
    """Everything can be done with the keyboard, and the focus is always seen."""
    assert page.driver.switch_to.active_element == page.find("#delay"), "one can write at once"
    page.press(Keys.CONTROL + "a", "20ms", Keys.ENTER)
    page.until_both("answered")
    for selector in (".example", "#others", "[name=same]", "#go", "#abort", ".source"):
        page.tab_to(selector)
        assert page.script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.open()
    page.tab_to(".example")
    page.press(Keys.SPACE)
    assert page.find("#delay").get_property("value") == EXAMPLES[0]
    page.tab_to("#go")
    page.press(Keys.SPACE)
    page.tab_to("#abort")
    page.press(Keys.ENTER)
    page.until(lambda: set(page.states()) <= {"aborted", "answered"})


def test_labels(page: Page) -> None:
    """Fields and bars have names, and changes are announced to assistive technology."""
    names = {each.accessible_name: each.aria_role for each in page.all("input, button, progress, pre[tabindex]")}
    assert names == {
        "Delay": "textbox",
        **dict.fromkeys(EXAMPLES, "button"),
        "Other parameters (optional)": "textbox",
        "same draw for both": "checkbox",
        "Go": "button",
        "Abort Esc": "button",
        "Klein routes: the time until the answer": "progressbar",
        "Raw resources: the time until the answer": "progressbar",
        "app/latebin/styles/klein.py, the source": "region",
        "app/latebin/styles/resource.py, the source": "region",
    }
    assert [each.aria_role for each in page.all(".answer [data-part=state]")] == ["paragraph"] * 2
    assert len(page.all(".answer [role=status] [data-part=state]")) == 2


@pytest.mark.parametrize("others", ["", f"x={'y' * 200}"])
def test_phone(page: Page, others: str) -> None:
    """Only the code scrolls sideways, in its own box, at a phone's width."""
    page.resize(360, 740)
    page.ask("mix(80%:1ms,20%:2ms)", others)
    page.until_both("refused" if others else "answered")
    assert page.script("return [document.documentElement.scrollWidth, innerWidth]") == [360, 360]
    for source in page.all(".source"):
        assert page.script("return arguments[0].scrollWidth > arguments[0].clientWidth", source)


def test_index_on_a_phone(page: Page) -> None:
    """Only tables of the page at / scroll sideways at a phone's width."""
    page.resize(360, 740)
    page.driver.get(f"{page.base}/")
    assert page.script("return [document.documentElement.scrollWidth, innerWidth]") == [360, 360]
    assert [table.rect["width"] <= 360 for table in page.all("table")] == [True, True]
    assert page.complaints() == []


def test_both_bars_are_seen_on_a_phone(page: Page) -> None:
    """On a phone, go brings both bars to where they are seen."""
    page.resize(360, 740)
    page.ask("50ms")
    page.until_both("answered")
    ends = page.script("""
        return [...document.querySelectorAll("progress")].map((bar) => bar.getBoundingClientRect().bottom);
    """)
    assert 0 < min(ends) < max(ends) < 740


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_scheme(page: Page, scheme: str) -> None:
    """The page follows the colour scheme, and the code has contrast (WCAG 1.4.3)."""
    page.emulate(prefers_color_scheme=scheme)
    assert page.script("return getComputedStyle(document.body).backgroundColor") == GROUND[scheme]
    box, *colours = page.script("""
        const code = document.querySelectorAll(".source span");
        const colours = new Set([...code].map((each) => getComputedStyle(each).color));
        return [getComputedStyle(document.querySelector(".source")).backgroundColor, ...colours];
    """)
    assert len(colours) >= 5
    assert min(contrast(colour, box) for colour in colours) >= 4.5


def contrast(one: str, other: str) -> float:
    """Give the contrast ratio of two colours (WCAG 2.2)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(figure) / 255 for figure in re.findall(r"\d+", colour)[:3]]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return sum(share * each for share, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(("motion", "moves"), [("reduce", "none"), ("no-preference", "sweep")])
def test_motion(page: Page, motion: str, moves: str) -> None:
    """A bar without a known pace moves only when reduced motion is not preferred."""
    page.emulate(prefers_reduced_motion=motion)
    page.script("document.querySelector('progress').removeAttribute('value')")
    assert page.script("return getComputedStyle(document.querySelector('progress')).animationName") == moves


def test_policy_holds(page: Page) -> None:
    """The browser refuses inline scripts, styles and markup by the policy."""
    with pytest.raises(JavascriptException, match="TrustedHTML"):
        page.script("document.body.innerHTML = '<p>x</p>'")
    with pytest.raises(JavascriptException, match="TrustedScript"):
        page.script("document.createElement('script').text = 'window.ran = true'")
    page.script("document.body.setAttribute('style', 'color: red')")
    assert "style-src" in "".join(page.complaints())


def test_linked(page: Page) -> None:
    """The page at / leads here, and this page leads back."""
    page.find(".home a").click()
    page.find("a[href='/compare']").click()
    page.until(lambda: page.driver.title == "Klein and raw resources, side by side")
