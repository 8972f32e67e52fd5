"""The pages that belong to neither style.

Each page that takes a library or a moment to make is imported and made for its first request, and kept.
"""

from collections.abc import Callable
from functools import cache, partial

from twisted.internet.defer import Deferred

from latebin.answers.interfaces import ServedRequest
from latebin.core.http.accept import wants_openmetrics
from latebin.core.http.reply import STOPPING, Reply, json_page
from latebin.core.settings import Settings
from latebin.core.topics import TOPICS
from latebin.site.resources import PageResource
from latebin.telemetry.metrics import Metrics
from latebin.timing.budget import TurnBudget
from latebin.timing.piecewise import SharedResult


def index(settings: Settings) -> PageResource:
    """Make the page at `/`, with every endpoint and parameter."""
    return PageResource(cache(partial(_index, settings)))


def _index(settings: Settings) -> Reply:
    from latebin.site.index_page import index_page  # noqa: PLC0415  # for the first request

    return index_page(settings)


def comparison() -> dict[bytes, PageResource]:
    """Make the page at `/compare` and the two files that it loads, by path."""
    return {path: PageResource(partial(_comparison, path)) for path in (b"compare", b"compare.js", b"compare.css")}


def _comparison(path: bytes) -> Reply:
    from latebin.site.compare_page import REPLIES  # noqa: PLC0415  # for the first request

    return REPLIES[path]()


def watching() -> dict[bytes, PageResource]:
    """Make the page at `/watch` and its script, by path."""
    return {path: PageResource(partial(_watching, path)) for path in (b"watch", b"watch.js")}


def _watching(path: bytes) -> Reply:
    from latebin.site.watch_page import REPLIES  # noqa: PLC0415  # for the first request

    return REPLIES[path]()


def reference() -> PageResource:
    """Make the list at `/docs/`, with a page below it for each topic."""
    found = PageResource(_list)
    found.putChild(b"", PageResource(_list))
    for topic in TOPICS:
        found.putChild(topic.encode("ascii"), PageResource(partial(_topic, topic)))
    return found


@cache
def _list() -> Reply:
    from latebin.site.docs_page import list_page  # noqa: PLC0415  # for the first request

    return list_page()


@cache
def _topic(topic: str) -> Reply:
    from latebin.site.docs_page import topic_page  # noqa: PLC0415  # for the first request

    return topic_page(topic)


def description(settings: Settings) -> PageResource:
    """Make the page that describes the service to programs, as OpenAPI."""
    return PageResource(cache(partial(_description, settings)))


def _description(settings: Settings) -> Reply:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  # for the first request

    from latebin.core.openapi import document  # noqa: PLC0415  # for the first request

    try:
        return json_page(document(settings, version("latebin")))
    except PackageNotFoundError:
        return json_page(document(settings, "unknown"))  # the package runs from its sources and was never installed


def health() -> PageResource:
    """Make the page that says that the service is alive."""
    alive = json_page({"status": "ok"})
    return PageResource(lambda: alive)


def readiness(stopping: Callable[[], bool]) -> PageResource:
    """Make the page that says whether the service takes traffic.

    Args:
        stopping: whether it takes no more.
    """
    ready, unready = json_page({"status": "ok"}), STOPPING.reply()
    return PageResource(lambda: unready if stopping() else ready)


def figures(metrics: Metrics, budget: TurnBudget) -> PageResource:
    """Make the page that Prometheus reads."""
    return FiguresResource(metrics, budget)


class FiguresResource(PageResource):
    """The page of the metrics, in the format that the client accepts.

    Args:
        metrics: the metrics.
        budget: the budget of each turn, which a page can exceed.
    """

    def __init__(self, metrics: Metrics, budget: TurnBudget) -> None:
        super().__init__(metrics.page)
        self._plain = SharedResult(budget, partial(metrics.rendering, openmetrics=False))
        self._openmetrics = SharedResult(budget, partial(metrics.rendering, openmetrics=True))

    def answer(self, request: ServedRequest) -> Reply | Deferred[Reply]:
        if request.method not in {b"GET", b"HEAD"}:
            return super().answer(request)
        accepted = request.requestHeaders.getRawHeaders(b"Accept", [])
        openmetrics = wants_openmetrics(b",".join(accepted).decode("latin-1"))
        return (self._openmetrics if openmetrics else self._plain).get()
