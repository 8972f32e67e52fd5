"""The table of all endpoints, from which the documents are made."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

import attrs

from latebin.core.http.reply import ALLOWED, ALLOWED_GET, METHODS
from latebin.core.language.duration import render as render_duration
from latebin.core.language.size import render as render_size
from latebin.core.parameters import (
    CONTROL_GATE,
    CONTROL_ID,
    CONTROL_KEY,
    DELAY,
    DELAYED,
    DRIP,
    EVENTS,
    GATE_QUERY,
    JOURNAL_QUERY,
    NAME,
    PENDING_QUERY,
    PREDICT,
    SECONDS,
    TOPIC,
    VIA,
    Parameter,
)
from latebin.core.settings import Settings

PREFIXES: Final = {"klein": "", "resource": "/raw"}
"""The path prefix of each style."""

HEADINGS: Final = ("parameter", "meaning", "accepted", "default", "bound", "example")
"""The columns of the table of parameters."""

# Characters that a query may have without an escape (RFC 3986, section 3.4): examples stay readable.
_LEGIBLE: Final = "():,=.$/"


@attrs.frozen
class Endpoint:
    """One path with its methods and parameters.

    Attributes:
        path: the path behind the style's prefix, with the names of its parameters in braces.
        summary: its effect, in a few words.
        answers: its kind of answer, a key of `latebin.core.openapi.ANSWERS`.
        methods: the methods that it answers.
        path_parameters: its parameters in the path.
        query: its parameters in the query.
        headers: its parameters in headers, whose names begin with `parameters.PREFIX`.
        styled: whether both styles have it, each under its prefix; otherwise it belongs to neither style.
        admin: whether `--admin-listen`, if that is set, is the only address that has it.
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
        """The prefix of its path by style; `site` stands for neither style."""
        return PREFIXES if self.styled else {"site": ""}

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return *self.path_parameters, *self.query, *self.headers

    @property
    def example(self) -> str:
        """An example of a request target, without prefix, and with the required parameters alone."""
        return self._target({each.name: each.example for each in self.query if each.required})

    def example_of(self, parameter: Parameter) -> str:
        """Return a request target with the example of a parameter and its required parameters."""
        if parameter not in self.query:
            return self.example
        return self._target({**parameter.beside, parameter.name: parameter.example})

    def _target(self, fields: Mapping[str, str]) -> str:
        path = self.path.format_map({each.name: quote(each.example, _LEGIBLE) for each in self.path_parameters})
        return f"{path}?{urlencode(fields, safe=_LEGIBLE, quote_via=quote)}" if fields else path


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
    Endpoint("/sse", "sends server-sent events, as go-httpbin does", "sse", query=EVENTS),
    Endpoint("/jsonl", "sends lines of JSON, as go-httpbin does", "jsonl", query=EVENTS),
    Endpoint(
        "/as/{name}",
        "answers as a scenario says, at this path and at every path below it",
        "late",
        (*ALLOWED, "TRACE"),
        path_parameters=(NAME,),
    ),
    Endpoint("/predict", "predicts a delay, at once", "prediction", query=PREDICT),
    Endpoint("/compare", "shows both styles side by side, in a browser", "page", styled=False),
    Endpoint("/watch", "shows when the events of a stream leave and come, in a browser", "page", styled=False),
    Endpoint("/docs/", "lists the pages of the reference", "page", styled=False),
    Endpoint("/docs/{topic}", "shows a page of the reference", "page", path_parameters=(TOPIC,), styled=False),
    Endpoint("/healthz", "answers at once, while the service is alive", "health", styled=False, admin=True),
    Endpoint("/readyz", "answers at once, 503 when the service stops", "readiness", styled=False, admin=True),
    Endpoint("/metrics", "gives figures for Prometheus, at once", "figures", styled=False, admin=True),
    Endpoint("/control/scenarios", "lists the scenarios", "scenarios", styled=False, admin=True),
    Endpoint(
        "/control/scenarios/{name}",
        "shows, makes, replaces or removes a scenario",
        "scenario",
        ("DELETE", "GET", "HEAD", "OPTIONS", "PUT"),
        path_parameters=(NAME,),
        styled=False,
        admin=True,
    ),
    Endpoint("/control/keys", "lists the keys and their turns", "keys", styled=False, admin=True),
    Endpoint(
        "/control/keys/{key}",
        "shows or forgets a key",
        "key",
        ("DELETE", "GET", "HEAD", "OPTIONS"),
        path_parameters=(CONTROL_KEY,),
        styled=False,
        admin=True,
    ),
    Endpoint("/control/gates", "lists the gates", "gates", styled=False, admin=True),
    Endpoint(
        "/control/gates/{gate}",
        "shows or waits for a gate, lets answers go, opens or closes it",
        "gate",
        ("GET", "HEAD", "OPTIONS", "POST"),
        path_parameters=(CONTROL_GATE,),
        query=GATE_QUERY,
        styled=False,
        admin=True,
    ),
    Endpoint(
        "/control/pending",
        "lists the pending answers, or ends those of a key",
        "pending",
        ("DELETE", "GET", "HEAD", "OPTIONS"),
        query=PENDING_QUERY,
        styled=False,
        admin=True,
    ),
    Endpoint(
        "/control/pending/{id}",
        "ends a pending answer, or lets it go",
        "waiting",
        ("DELETE", "OPTIONS", "POST"),
        path_parameters=(CONTROL_ID,),
        styled=False,
        admin=True,
    ),
    Endpoint(
        "/control/journal",
        "shows the requests of a key, and a summary",
        "journal",
        query=JOURNAL_QUERY,
        styled=False,
        admin=True,
    ),
    Endpoint("/control/reset", "sets all scenarios back", "reset", ("OPTIONS", "POST"), styled=False, admin=True),
    Endpoint("/openapi.json", "describes all this for programs (OpenAPI 3.1)", "description", styled=False),
    Endpoint("/", "describes all this for people", "page", styled=False),
)
"""Every endpoint that does not depend on the settings."""


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """Return every endpoint of a service, with one under `/via` for each of its upstreams."""
    via = (
        # OPTIONS is not listed: it is passed on, since the upstream knows its own methods.
        Endpoint(f"/via/{name}", f"passes on to {url}, late", "via", METHODS, headers=VIA)
        for name, url in settings.upstreams.items()
    )
    public = (each for each in ENDPOINTS if not (each.admin and settings.admin_listen))
    return *public, *via


def parameters() -> list[tuple[Parameter, str]]:
    """List each parameter of an answer once, with a request target as its example."""
    found: dict[int, tuple[Parameter, str]] = {}
    for endpoint in ENDPOINTS:
        if endpoint.styled:
            for parameter in endpoint.parameters:
                # By identity, because two endpoints have different parameters with one name.
                found.setdefault(id(parameter), (parameter, endpoint.example_of(parameter)))
    return list(found.values())


def with_values(text: str, settings: Settings) -> str:
    """Add its value to each setting in a text, as in `--max-delay` (10m)."""
    values = {
        "default-delay": render_duration(settings.default_delay),
        "max-delay": render_duration(settings.max_delay),
        "max-body": render_size(settings.max_body),
    }
    for name, value in values.items():
        text = text.replace(f"`--{name}`", f"`--{name}` ({value})")
    return text
