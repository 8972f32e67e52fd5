"""One request to the service and its JSON, or an exception."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ssl import SSLContext
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

_PROBLEM: Final = 400
"""The least status of a problem."""


class LatebinError(Exception):
    """The base of all exceptions of the client."""


class UnreachableError(LatebinError):
    """The service cannot be reached, or another program answers at its URL."""


class ProblemError(LatebinError):
    """A request that the service refused, with the members of its problem (RFC 9457).

    Attributes:
        status: the HTTP status code.
        title: the phrase of the status.
        detail: the fault in this request, as a sentence.
        parameter: the name of the wrong parameter, if there is one.
        given: the given value.
        accepted: the accepted values.
    """

    def __init__(self, status: int, members: Mapping[str, Any], reason: str = "") -> None:
        self.status = status
        self.title: str = members.get("title", reason)
        self.detail: str = members.get("detail", reason)
        self.parameter: str | None = members.get("parameter")
        self.given: str | None = members.get("given")
        self.accepted: str | None = members.get("accepted")
        super().__init__(str(self))

    def __str__(self) -> str:
        given = "" if self.given is None else f" Given: {self.given!r}."
        accepted = "" if self.accepted is None else f" Accepted: {self.accepted}."
        return f"{self.status} {self.title}: {self.detail}{given}{accepted}"

    def __reduce__(self) -> tuple[type["ProblemError"], tuple[int, dict[str, Any]]]:
        # By default, an exception is made anew from its message alone; test runners send exceptions between processes.
        names = ("title", "detail", "parameter", "given", "accepted")
        return type(self), (self.status, {name: getattr(self, name) for name in names})


@dataclass(frozen=True, slots=True)
class Exchange:
    """The requests of a client, each over a connection of its own.

    Attributes:
        url: the URL of the service, without a slash at the end.
        token: the token of `/control`; None without one.
        timeout: seconds that the service may take to answer.
        context: the settings of TLS; None for the default ones.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    timeout: float = 10.0
    context: SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{self.url!r} is not the URL of a service, such as http://127.0.0.1:8080")

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: str | None = None,
        kind: str = "application/json",
        wait: float = 0.0,
    ) -> dict[str, Any]:
        """Send a request, and return the object in its answer.

        Args:
            method: the method.
            path: the path, percent-encoded.
            query: the parameters.
            body: the body.
            kind: the media type of the body.
            wait: seconds that the service is asked to wait before it answers.

        Raises:
            ProblemError: the service refuses the request.
            UnreachableError: the service cannot be reached, or the answer is not JSON.
        """
        target = f"{path}?{urlencode(query)}" if query else path
        headers = {} if body is None else {"Content-Type": kind}
        status, reason, payload = self._send(method, target, headers, body, self.timeout + wait)
        members: Any = None
        with suppress(ValueError):
            members = json.loads(payload)
        if status >= _PROBLEM:
            raise ProblemError(status, members if isinstance(members, dict) else {}, reason)
        if not isinstance(members, dict):
            raise UnreachableError(f"{method} {self.url}{target}: the answer, {status} {reason}, is not one of latebin")
        return members

    def is_ready(self) -> bool:
        """Return whether `/readyz` answers with 200; a service that cannot be reached is not ready."""
        try:
            status, _, _ = self._send("GET", "/readyz", {}, None, self.timeout)
        except UnreachableError:
            return False
        return status == 200  # noqa: PLR2004  # OK

    def _send(
        self, method: str, target: str, headers: dict[str, str], body: str | None, timeout: float
    ) -> tuple[int, str, bytes]:
        parts = urlsplit(self.url)
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        host = parts.hostname or ""
        if parts.scheme == "http":
            connection = HTTPConnection(host, parts.port, timeout=timeout)
        else:
            connection = HTTPSConnection(host, parts.port, timeout=timeout, context=self.context)
        try:
            connection.request(method, parts.path + target, None if body is None else body.encode(), headers)
            response = connection.getresponse()
            return response.status, response.reason, response.read()
        except (OSError, HTTPException) as error:
            raise UnreachableError(f"{method} {self.url}{target}: {error or type(error).__name__}") from error
        finally:
            connection.close()


def seconds(value: float) -> str:
    """Return a number of seconds as a duration that the service reads.

    Raises:
        TypeError: it is another type.
    """
    if not isinstance(value, int | float | Decimal):
        raise TypeError(f"timeout: expected a number of seconds, and not {value!r}")
    return f"{Decimal(str(value)):f}s"
