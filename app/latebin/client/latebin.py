"""The client, and the objects of a service that it hands out."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from ssl import SSLContext
from typing import Any, Final, Self
from urllib.parse import quote
from uuid import uuid4

from latebin.client.exchange import Exchange, seconds
from latebin.client.handles import Gate, Key, Pending, Scenario
from latebin.client.journal import Journal, known
from latebin.client.values import SINGLE, Value, Values, several, text_of

TOKEN: Final = "LATEBIN_CONTROL_TOKEN"  # noqa: S105  # the name of a variable
"""The environment variable with the token of `/control`."""

KEYED: Final = frozenset({"delayed", "delay", "drip", "sse", "jsonl"})
"""The first segments of the paths that take a key in their query."""

PREFIXES: Final = ("", "/raw")
"""The prefixes of the two styles."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")

_IN_PATH: Final = "/-._~!$&'()*+,;=:@"
_IN_QUERY: Final = "-._~(),:*"


class Latebin:
    """A running service, and the key of one test.

    A client with a key adds it to every URL. Gates belong to it: the service sees the gate `late` of the key `t42` as
    `t42.late`, so that parallel tests do not share it. As a context manager, a client calls `close` at the end.

    Args:
        url: the URL of the service.
        key: names the requests of one test; None for a client without one.
        token: the token of `/control`; by default the value of `LATEBIN_CONTROL_TOKEN`.
        control: the URL of `/control` on a service with `--admin-listen`; by default `url`.
        timeout: seconds that the service may take to answer.
        context: the settings of TLS.

    Raises:
        ValueError: a URL is not one of a service.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        token: str | None = None,
        control: str | None = None,
        timeout: float = 10.0,
        context: SSLContext | None = None,
    ) -> None:
        self.base = Exchange(url.rstrip("/")).url
        self.key = key
        self._exchange = Exchange((control or url).rstrip("/"), token or os.environ.get(TOKEN), timeout, context)
        self._gates: dict[str, Gate] = {}
        self._scenarios: dict[str, Scenario] = {}

    def __repr__(self) -> str:
        return f"Latebin({self.base!r}, key={self.key!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Open the gates and reset the scenarios that this client handed out.

        Raises:
            LatebinError: as in `Gate.open`.
        """
        while self._gates:
            self._gates.popitem()[1].open()
        while self._scenarios:
            self._scenarios.popitem()[1].reset()

    def ready(self) -> bool:
        """Return whether the service is ready; one that cannot be reached is not."""
        return self._exchange.is_ready()

    def url(self, path: str = "/delayed", *, prefix: str = "", **parameters: Values) -> str:
        """Return the URL of a path with parameters.

        Below `/as/NAME`, the query belongs to the client under test, and the parameters follow the name of the
        scenario. Below `/via`, `headers` has the parameters.

        Args:
            path: the path, not percent-encoded.
            prefix: "/raw" for the second style.
            parameters: the parameters, with an underscore for each hyphen. The key is the client's own by default.

        Raises:
            ValueError: the prefix is unknown. Or a parameter has a semicolon or a slash, which a path below `/as`
                cannot have.
            TypeError: a parameter has a value of another type.
        """
        if prefix not in PREFIXES:
            raise ValueError(f"prefix: expected '/raw', or '' for Klein, and not {prefix!r}")
        first, *rest = path.lstrip("/").split("/", 2)
        fields = self._fields({**({"key": self.key} if first in {*KEYED, "as"} else {}), **parameters})
        encoded = [f"{name}={quote(text, safe=_IN_QUERY)}" for name, text in fields]
        if first == "as" and rest:
            # The service takes both as separators, percent-encoded too.
            if any({";", "/"} & set(text) for _, text in fields):
                raise ValueError("a parameter has a semicolon or a slash, which the path of a scenario cannot have")
            target = "/".join(map(_in_path, ["as", *rest]))
            place = len("as/" + _in_path(rest[0]))
            return f"{self.base}{prefix}/{target[:place]}{''.join(f';{each}' for each in encoded)}{target[place:]}"
        query = f"?{'&'.join(encoded)}" if encoded else ""
        return f"{self.base}{prefix}/{_in_path('/'.join([first, *rest]))}{query}"

    def headers(self, **parameters: Values) -> dict[str, str]:
        """Return parameters as request headers, with the key of this client.

        Raises:
            ValueError: a parameter has several values, for which a dictionary has no place.
        """
        fields = self._fields({"key": self.key, **parameters})
        found = {f"Latebin-{name.title()}": text for name, text in fields}
        if len(found) < len(fields):
            raise ValueError("a parameter has several values; expected one of each in headers")
        return found

    def scenario(
        self,
        name: str | None = None,
        given: str | Mapping[str, Any] | None = None,
        *,
        prefix: str = "",
        **parameters: Any,  # noqa: ANN401  # a rule is a list of mappings
    ) -> Scenario:
        """Make or replace a scenario, and return its base URL.

        Args:
            name: the name of the scenario; by default a new one.
            given: the scenario as a query string or as an object; by default the parameters.
            prefix: "/raw" for the second style.
            parameters: the parameters as in `url`; `rule` is a list of mappings.

        Raises:
            TypeError: a parameter or a rule has a value of another type, or there are parameters beside a query string.
            LatebinError: the scenario is refused, or the service cannot be reached.
        """
        name = _new("scenario") if name is None else name
        path = f"/control/scenarios/{quote(name, safe='')}"
        if isinstance(given, str):
            if parameters:
                raise TypeError(f"expected a query string or parameters, and not both: {', '.join(parameters)}")
            self._exchange.ask("PUT", path, body=given, kind="text/plain")
        else:
            values = self._as_json({**(given or {}), **parameters})
            self._exchange.ask("PUT", path, body=json.dumps(values))
        made = Scenario(self.url(f"/as/{name}", prefix=prefix))
        made.name, made.exchange = name, self._exchange
        self._scenarios[name] = made
        return made

    def gate(self, name: str | None = None) -> Gate:
        """Return a gate of this client's key; by default a new one.

        The service learns of a gate from the first request that names it.

        Raises:
            ValueError: the service would refuse the name.
        """
        name = _new("gate") if name is None else name
        owned = name if self.key is None else f"{self.key}.{name}"
        # Here and not at the end of a test, where each gate is opened.
        if not name or not _NAME.fullmatch(owned):
            raise ValueError(f"gate: expected 1 to 128 letters, digits, '.', '_' and '-', and not {owned!r}")
        return self._gates.setdefault(owned, Gate(owned, self._exchange))

    def journal(self, key: str | None = None, *, ended: int | None = None, timeout: float = 10.0) -> Journal:
        """Return the requests of a key, by default of this client's.

        Args:
            key: the key.
            ended: how many requests must have ended first; None for the journal as it is.
            timeout: seconds to wait for that.

        Raises:
            ProblemError: with status 408, fewer requests ended within the timeout.
            LatebinError: as in `Gate.open`.
        """
        query = {"key": self._key(key)}
        if ended is None:
            return Journal.read(self._exchange.ask("GET", "/control/journal", query=query))
        query |= {"ended": str(ended), "timeout": seconds(timeout)}
        return Journal.read(self._exchange.ask("GET", "/control/journal", query=query, wait=timeout))

    def pending(self, key: str | None = None) -> list[Pending]:
        """List the answers that wait.

        Args:
            key: the key of their requests; by default that of this client, and without one, all answers are listed.
        """
        key = self.key if key is None else key
        found = self._exchange.ask("GET", "/control/pending", query=None if key is None else {"key": key})["pending"]
        names = {"for": "waits_for"}
        read = ({names.get(name, name): value for name, value in each.items()} for each in found)
        return [known(Pending, {**each, "exchange": self._exchange}) for each in read]

    def end_pending(self, key: str | None = None) -> int:
        """Answer the requests of a key now, with 503; return how many there were."""
        ended: int = self._exchange.ask("DELETE", "/control/pending", query={"key": self._key(key)})["ended"]
        return ended

    def keys(self) -> list[Key]:
        """List the keys that the service knows, at most 1,000 of them."""
        return [known(Key, each) for each in self._exchange.ask("GET", "/control/keys")["keys"]]

    def turn(self, key: str | None = None) -> int:
        """Return how many requests a key had, by default this client's."""
        turn: int = self._exchange.ask("GET", self._key_path(key))["turn"]
        return turn

    def forget(self, key: str | None = None) -> bool:
        """Forget a key, by default this client's; return whether it was known."""
        deleted: bool = self._exchange.ask("DELETE", self._key_path(key))["deleted"]
        return deleted

    def _key(self, key: str | None) -> str:
        found = self.key if key is None else key
        if found is None:
            raise ValueError("expected a key, here or for the whole client")
        return found

    def _key_path(self, key: str | None) -> str:
        return f"/control/keys/{quote(self._key(key), safe='')}"

    def _fields(self, parameters: Mapping[str, Values]) -> list[tuple[str, str]]:
        """Return the names and texts of parameters in their order, without those that are None."""
        return [
            (name.replace("_", "-"), self._text(name, each))
            for name, value in parameters.items()
            for each in several(name, value)
        ]

    def _as_json(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in parameters.items():
            if name == "rule":
                found[name] = [self._as_json(rule) for rule in _rules(value)]
            elif value is not None:
                texts = [self._text(name, each) for each in several(name, value)]
                found[name.replace("_", "-")] = texts[0] if isinstance(value, SINGLE) else texts
        return found

    def _text(self, name: str, value: Value) -> str:
        if name == "gate" and isinstance(value, str):
            # The name of a gate may have the size of a barrier behind it.
            owned, colon, size = value.partition(":")
            return f"{self.gate(owned)}{colon}{size}"
        return text_of(value)


def _rules(rules: object) -> Iterable[Mapping[str, Any]]:
    """Return the rules of a scenario; a single one may stand without a list."""
    several = [rules] if isinstance(rules, Mapping) else rules
    if not isinstance(several, list | tuple) or not all(isinstance(each, Mapping) for each in several):
        raise TypeError(
            f"rule: expected a list of mappings such as {{'path': '/v1/**', 'status': 402}}, and not {rules!r}"
        )
    return several


def _in_path(path: str) -> str:
    return quote(path, safe=_IN_PATH)


def _new(kind: str) -> str:
    return f"{kind}-{uuid4().hex[:12]}"
