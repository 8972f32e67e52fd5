"""The part of the contract about `/control` and CORS, for services of its own.

Its conversations change scenarios, or need a choice of the operator. `latebin compare` starts a service of its own for
each choice.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

import attrs

from latebin.answers.scenarios import etag_of
from latebin.compare.contract import Case, Conversation
from latebin.core import scenarios
from latebin.core.http.networks import parse
from latebin.core.settings import Settings

IN_USE: Final = "It changes scenarios or needs other settings, so it is held with services of the comparison alone"
"""Why a conversation is not held with a service that runs already."""

SHOP: Final = "https://shop.example"
"""The origin whose pages may read answers."""

TOKEN: Final = "contract"  # noqa: S105  # of a service that this machine alone reaches, for a second

NAME: Final = "contract"
"""The scenario that the conversations make; each removes it again."""


@attrs.frozen
class Operated:
    """A choice of an operator, and the conversations with such a service.

    They are held one after the other, because each changes the scenarios that the next one sees.

    Attributes:
        settings: the choice.
        variables: the same, as variables of `latebin serve`.
        conversations: the conversations, in both styles.
    """

    settings: Settings
    variables: Mapping[str, str]
    conversations: tuple[Conversation, ...]


_control: Final = partial(Case, "", styled=False)

_scenarios: Final = partial(_control, "/control/scenarios")

_scenario: Final = partial(_control, f"/control/scenarios/{NAME}")

_put: Final = partial(_scenario, method="PUT", headers=("Content-Type: text/plain",))

_put_json: Final = partial(_scenario, method="PUT", headers=("Content-Type: application/json",))

_gone: Final = _scenario(method="DELETE")

_late: Final = partial(Case, "", f"/as/{NAME}/v1/charges?limit=5", wait=0.01)

_GIVEN: Final = "delay=10ms&status=503:100%"

_ETAG: Final = etag_of(scenarios.read(NAME, _GIVEN, Settings()))

_RULES: Final = b'{"delay": "10ms", "rule": [{"path": "/v1/**", "method": "POST", "status": 418}]}'

_SHOP: Final = f"Origin: {SHOP}"

_EVIL: Final = "Origin: https://evil.example"

_WANTED: Final = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: latebin-delay")

SHARED: Final = Operated(
    Settings(cors=(SHOP,)),
    {"LATEBIN_CORS": SHOP},
    (
        Conversation(
            "control: a scenario is put, replaced and deleted between the answers of a client",
            (
                _put(body=_GIVEN.encode("ascii")),
                _late(status=503),
                _put_json(body=_RULES),
                _late(method="POST", status=418),
                _late(),
                _scenario(),
                _gone,
                _late(status=404, wait=0.0),
            ),
        ),
        Conversation(
            "control: preconditions",
            (
                _put(body=_GIVEN.encode("ascii"), headers=("If-None-Match: *",)),
                _scenario(304, headers=(f"If-None-Match: {_ETAG}",)),
                _put(412, body=b"delay=0", headers=("If-None-Match: *",)),
                _put(412, body=b"delay=0", headers=('If-Match: "another"',)),
                _scenario(412, method="DELETE", headers=('If-Match: "another"',)),
                _put(body=b"delay=10ms&status=418", headers=(f"If-Match: {_ETAG}",)),
                _late(status=418),
                _gone,
            ),
        ),
        Conversation(
            "control: the list, and a reset",
            (
                _put(body=_GIVEN.encode("ascii")),
                _scenarios(),
                _control("/control/scenarios/slow", method="PUT", body=b"delay=10ms"),
                _control("/control/scenarios/slow", method="DELETE"),
                _control("/control/reset", method="POST"),
                _scenarios(204, method="OPTIONS"),
                _scenarios(405, method="DELETE"),
                _control("/control/reset", 405),
                _scenario(404),
                # Behind the others: `latebin compare` waits for the body that an answer to HEAD announces.
                _scenarios(method="HEAD"),
            ),
        ),
        Conversation(
            "control: wrong bodies",
            (
                _put(400, body=b"delay=soon"),
                _put(400, body=b"delay=0&upstream=nowhere"),
                _put_json(400, body=b"[1]"),
                _put_json(400, body=b'{"delay": 1, "delay": 2}'),
                _scenario(415, method="PUT", headers=("Content-Type: text/xml",), body=b"<a/>"),
                _scenario(405, method="POST"),
                _control("/control/nothing", 404),
                _late(status=404, wait=0.0),
            ),
        ),
        Conversation(
            "control: pages of other origins, and a rebound name",
            (
                _scenarios(403, headers=(_EVIL,)),
                # Not even an origin that may read answers.
                _put(403, body=_GIVEN.encode("ascii"), headers=(_SHOP,)),
                _scenario(403, method="OPTIONS", headers=(_SHOP, *_WANTED)),
                _scenarios(403, headers=("Sec-Fetch-Site: cross-site",)),
                _scenarios(headers=("Origin: http://localhost", "Sec-Fetch-Site: same-origin")),
                _late(status=404, wait=0.0),
            ),
            (403, 403, 403, 403, 200, 404, 403),
            raw="GET /control/scenarios HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        ),
        Conversation(
            "CORS: answers, problems and pages",
            (
                Case("", "/delayed/10ms", wait=0.01, headers=(_SHOP,)),
                Case("", "/delayed?delay=10ms&status=503", 503, wait=0.01, headers=(_SHOP,)),
                Case("", "/delayed/soon", 400, headers=(_SHOP,)),
                Case("", "/delayed", 405, method="BREW", headers=(_SHOP,)),
                Case("", "/nothing", 404, headers=(_SHOP,)),
                Case("", "/drip?duration=0", headers=(_SHOP,)),
                Case("", "/predict", headers=(_SHOP,)),
                Case("", "/delayed?delay=10ms&type=sse&chunks=2", wait=0.01, headers=(_SHOP,)),
                _control("/healthz", headers=(_SHOP,)),
            ),
        ),
        Conversation(
            "CORS: headers before a fault",
            (Case("", "/delayed?delay=10ms&fault=truncate", wait=0.01, headers=(_SHOP,)),),
            stays=False,
        ),
        Conversation(
            "CORS: preflights",
            tuple(
                Case("", target, 204, method="OPTIONS", headers=(_SHOP, *_WANTED))
                for target in ("/delayed", "/delayed/soon", "/as/slow/v1", "/via/api/v1", "/nothing")
            ),
        ),
        Conversation(
            "CORS: other origins, and none",
            (
                Case("", "/delayed/10ms", wait=0.01, headers=(_EVIL,)),
                Case("", "/delayed/10ms", wait=0.01, headers=(_SHOP, _EVIL)),
                Case("", "/delayed/10ms", wait=0.01),
                Case("", "/delayed", 204, method="OPTIONS", headers=(_EVIL, *_WANTED)),
                Case("", "/nothing", 404, method="OPTIONS", headers=(_EVIL, *_WANTED)),
            ),
        ),
    ),
)

GUARDED: Final = Operated(
    Settings(control_token=TOKEN),
    {"LATEBIN_CONTROL_TOKEN": TOKEN},
    (
        Conversation(
            "control: with a token, and without",
            (
                _scenarios(403),
                _scenarios(403, headers=(f"Authorization: Bearer {TOKEN[:-1]}",)),
                _scenarios(403, headers=(f"Authorization: Bearer {TOKEN}x",)),
                _scenarios(403, headers=(f"Authorization: Basic {TOKEN}",)),
                _scenarios(403, headers=(f"Authorization: Bearer {TOKEN}", _EVIL)),
                _put(403, body=_GIVEN.encode("ascii")),
                _scenarios(headers=(f"Authorization: bearer {TOKEN}",)),
            ),
        ),
    ),
)

CLOSED: Final = Operated(
    # Behind a proxy, other machines reach the service, so its control is closed by default.
    Settings(proxy_headers=(parse("192.0.2.1"),)),
    {"LATEBIN_PROXY_HEADERS": "192.0.2.1"},
    (
        Conversation(
            "control: closed",
            (
                _scenarios(403),
                _put(403, body=_GIVEN.encode("ascii")),
                _scenarios(403, headers=(f"Authorization: Bearer {TOKEN}",)),
                *(
                    _control(f"/control/{path}", 403)
                    for path in ("keys", "gates/g", "pending", "journal?key=a", "nothing")
                ),
                _control("/control/reset", 403, method="POST"),
                _late(status=404, wait=0.0),
            ),
        ),
    ),
)

OPERATED: Final = (SHARED, GUARDED, CLOSED)
"""Every choice."""
