"""The one table of what can be requested, from which the documents are made."""

from typing import Final
from urllib.parse import quote, urlencode

import attrs

from latebin.core.http.reply import ALLOWED, ALLOWED_GET, METHODS
from latebin.core.language.duration import render as render_duration
from latebin.core.language.size import render as render_size
from latebin.core.parameters import DELAY, DELAYED, DRIP, NAME, PREDICT, SECONDS, TOPIC, VIA, Parameter
from latebin.core.settings import Settings

PREFIXES: Final = {"klein": "", "resource": "/raw"}
"""The path under which each style answers."""

HEADINGS: Final = ("parameter", "meaning", "accepted", "default", "bound", "example")
"""The columns of the table of parameters."""

# What a URL may have as it is (RFC 3986, section 3.4), so that an example reads as people write it.
_LEGIBLE: Final = "():,=.$/"


@attrs.frozen
class Endpoint:
    """One path, and all that can be asked for there.

    Attributes:
        path: behind the style's prefix, with the names of its parameters in braces.
        summary: what it does, in a few words.
        answers: which of `latebin.core.openapi.ANSWERS` it gives.
        methods: those it answers.
        path_parameters: those in the path.
        query: those in the query.
        headers: those in header fields, behind `parameters.PREFIX`.
        styled: whether both styles have it, each under its prefix; if not, it belongs to neither.
        admin: whether it is at `--admin-listen` alone, where there is such an address.
    """

    path: str
    summary: str
    answers: str
    methods: tuple[str, ...] = ALLOWED_GET
    path_parameters: tuple[Parameter, ...] = ()
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    styled: bool = True
    admin: bool = False

    @property
    def prefixes(self) -> dict[str, str]:
        """The prefix of its path by the style that answers, which is `site` for what belongs to neither."""
        return PREFIXES if self.styled else {"site": ""}

    @property
    def example(self) -> str:
        """A request target of it, without a query and behind the prefix."""
        return self.path.format_map({each.name: quote(each.example, _LEGIBLE) for each in self.path_parameters})

    def example_of(self, parameter: Parameter) -> str:
        """Give a request target that has the example of one of its parameters, and what has to stand beside it."""
        if parameter not in self.query:
            return self.example
        fields = {**parameter.beside, parameter.name: parameter.example}
        return f"{self.example}?{urlencode(fields, safe=_LEGIBLE, quote_via=quote)}"


ENDPOINTS: Final = (
    Endpoint("/delayed", "answers late", "late", ALLOWED, query=DELAYED),
    Endpoint(
        "/delayed/{delay}",
        "answers late, with the delay in the path",
        "late",
        ALLOWED,
        path_parameters=(DELAY,),
        query=tuple(each for each in DELAYED if each is not DELAY),
    ),
    Endpoint(
        "/delay/{delay}",
        "returns the request, late, as httpbin does",
        "echo",
        ALLOWED,
        path_parameters=(SECONDS,),
    ),
    Endpoint("/drip", "sends bytes one by one, as httpbin does", "drip", query=DRIP),
    Endpoint(
        "/as/{name}",
        "answers as a scenario says, at this path and at every path below it",
        "late",
        METHODS,
        path_parameters=(NAME,),
    ),
    Endpoint("/predict", "predicts a delay, at once", "prediction", query=PREDICT),
    Endpoint("/compare", "shows both styles side by side, in a browser", "page", styled=False),
    Endpoint("/docs/", "lists the pages of the reference", "page", styled=False),
    Endpoint("/docs/{topic}", "shows a page of the reference", "page", path_parameters=(TOPIC,), styled=False),
    Endpoint("/healthz", "answers at once, while the service is alive", "health", styled=False, admin=True),
    Endpoint("/readyz", "answers at once, 503 when the service stops", "readiness", styled=False, admin=True),
    Endpoint("/metrics", "gives figures for Prometheus, at once", "figures", styled=False, admin=True),
    Endpoint("/openapi.json", "describes all this for programs (OpenAPI 3.1)", "description", styled=False),
    Endpoint("/", "describes all this for people", "page", styled=False),
)
"""Every endpoint that is there whatever the settings are."""


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """Give every endpoint of a service: those of `/via` are there for the upstreams that it has."""
    via = (
        # OPTIONS is passed on as well: it is the upstream that tells its methods.
        Endpoint(f"/via/{name}", f"passes on to {url}, late", "via", METHODS, headers=VIA)
        for name, url in settings.upstreams.items()
    )
    public = (each for each in ENDPOINTS if not (each.admin and settings.admin_listen))
    return *public, *via


def parameters() -> list[tuple[Parameter, str]]:
    """Give each parameter of an answer once, with a request target as an example of it."""
    found: dict[int, tuple[Parameter, str]] = {}
    for endpoint in ENDPOINTS:
        if endpoint.styled:
            for parameter in (*endpoint.query, *endpoint.path_parameters):
                # Two parameters of one name may mean different things in different places.
                found.setdefault(id(parameter), (parameter, endpoint.example_of(parameter)))
    return list(found.values())


def with_values(text: str, settings: Settings) -> str:
    """Put behind each setting that a text names what it is in this service: `--max-delay` (10m)."""
    values = {
        "default-delay": render_duration(settings.default_delay),
        "max-delay": render_duration(settings.max_delay),
        "max-body": render_size(settings.max_body),
    }
    for name, value in values.items():
        text = text.replace(f"`--{name}`", f"`--{name}` ({value})")
    return text
