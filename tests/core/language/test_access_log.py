import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.language.access_log import times

REQUEST = '192.0.2.1 - - [26/Nov/2026:10:00:00 +0000] "GET /a HTTP/1.1" 200 612 "-" "curl/8"'

HAPROXY = (
    "Nov 26 10:00:00 localhost haproxy[14389]: 10.0.1.2:33317 [26/Nov/2026:10:00:00.655] http-in static/srv1 "
    '10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html HTTP/1.1"'
)

ENVOY = (
    '[2026-11-26T10:00:00.310Z] "POST /api HTTP/2" 204 - 154 0 226 100 "10.0.35.28" "nsq2http" "cc21" "locations" "tcp"'
)

OURS = "2026-11-22T23:04:05.981Z klein GET /delayed/250ms 200 asked=250.0ms measured=250.654ms sent=52B 127.0.0.1 8f\n"


def one(line: str, *, upstream: bool = False) -> tuple[list[float], list[str]]:
    found = times([line], upstream=upstream, most=9)
    return found.seconds, [*found.taken, *found.skipped]


@pytest.mark.parametrize(
    ("line", "total", "upstream", "kind"),
    [
        (OURS, 0.250654, 0.250654, "latebin"),
        ('{"status": 200, "measured_ms": 250.654, "ended": null}', 0.250654, 0.250654, "latebin"),
        (f"{REQUEST} 0.123", 0.123, 0.123, "nginx"),
        (f"{REQUEST} 0.123 0.120", 0.123, 0.120, "nginx"),
        (f'{REQUEST} "0.123"', 0.123, 0.123, "nginx"),
        (f'{REQUEST} rt=0.123 uct="0.000" urt="0.120"', 0.123, 0.120, "nginx"),
        ('{"request_time": "0.123", "upstream_response_time": "0.120"}', 0.123, 0.120, "nginx"),
        (HAPROXY, 0.109, 0.069, "HAProxy"),
        (HAPROXY.replace("/109 ", "/+109 "), 0.109, 0.069, "HAProxy"),
        (f'{REQUEST} 0.123 "0.100, 0.020"', 0.123, 0.12, "nginx"),
        (f"{REQUEST} 0.123 0.100 : -, 0.020", 0.123, 0.12, "nginx"),
        ('{"request_time": 0.123, "upstream_response_time": "0.100, 0.020"}', 0.123, 0.12, "nginx"),
        ('{"duration": 226, "response_flags": "-", "upstream_service_time": "100"}', 0.226, 0.1, "Envoy"),
        (ENVOY, 0.226, 0.1, "Envoy"),
        (ENVOY.replace(" 204 - ", ' 204 - via_upstream - "-" '), 0.226, 0.1, "Envoy"),
    ],
)
def test_formats(line: str, total: float, upstream: float, kind: str) -> None:
    """A line of each known format has the time of its request."""
    for expected, choice in ((total, False), (upstream, True)):
        [seconds], kinds = one(line, upstream=choice)
        assert seconds == pytest.approx(expected)
        assert kinds == [kind]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("\n", "blank"),
        (REQUEST, "without a time"),
        # A client has chosen these.
        (REQUEST.replace("/a", "/a?rt=9.500"), "without a time"),
        (REQUEST.replace("curl/8", "curl 9.500"), "without a time"),
        (REQUEST.replace("curl/8", "9.500"), "without a time"),
        (REQUEST.replace("curl/8", "curl 9.500") + ' "-"', "without a time"),
        (REQUEST.replace("curl/8", r"a \" rt=9.500 \" b"), "without a time"),
        (REQUEST.replace("curl/8", "a 200 asked=1ms measured=9ms b"), "without a time"),
        (f"{REQUEST} 0.123 0.100 0.020", "without a time"),
        ("x 200 asked=1ms measured=1.2.3ms y", "not a request of a known format"),
        ('{"request_time": "NaN"}', "not a request of a known format"),
        ('{"request_time": true}', "not a request of a known format"),
        ('{"measured_ms": NaN}', "not a request of a known format"),
        ('{"measured_ms": 1e400}', "longer than any delay"),
        ('{"duration": 1' + "0" * 400 + ', "response_flags": "-"}', "longer than any delay"),
        ('{"a":' * 100_000, "not a request of a known format"),
        ("hello", "not a request of a known format"),
        ("{", "not a request of a known format"),
        ("[1]", "not a request of a known format"),
        ('{"message": "started"}', "not a request of a known format"),
        (OURS.replace(" 200 ", " left "), "not answered"),
        ('{"status": 0, "ended": "left", "measured_ms": 250.6}', "not answered"),
        (HAPROXY.replace("/69/109 ", "/-1/-1 "), "not answered"),
    ],
)
def test_skipped(line: str, reason: str) -> None:
    """A line without a time of an answer is skipped, with the reason."""
    assert one(line) == ([], [reason])


def test_no_upstream() -> None:
    """A request that no upstream answered has no time of the upstream."""
    assert one(ENVOY.replace(" 226 100 ", " 226 - "), upstream=True) == ([], ["without a time of the upstream"])
    assert one(f"{REQUEST} 0.123 -", upstream=True) == ([], ["without a time of the upstream"])


@pytest.mark.parametrize("value", ['"-"', '""', "null"])
def test_no_upstream_in_json(value: str) -> None:
    """A request in JSON that no upstream answered has no time of the upstream."""
    nginx = f'{{"request_time": 0.123, "upstream_response_time": {value}}}'
    envoy = f'{{"duration": 12, "response_flags": "UF", "upstream_service_time": {value}}}'
    for line in (nginx, envoy):
        assert one(line, upstream=True) == ([], ["without a time of the upstream"])


def test_bound() -> None:
    """Times above the bound are counted and not taken."""
    found = times([OURS] * 5, most=3)
    assert (len(found.seconds), found.skipped) == (3, {"beyond 3 times": 2})


@given(st.text())
def test_any_line(line: str) -> None:
    """Any line is taken or skipped."""
    found = times([line], most=9)
    assert found.taken.total() + found.skipped.total() == 1
