"""Another Deferred to wait for: the answer of a real service to a forwarded request."""

from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from latebin.answers.faults import ENDS
from latebin.answers.interfaces import ServedRequest, abort, note_write, request_id
from latebin.answers.request_body import StreamedBody
from latebin.answers.throttle import Throttle
from latebin.answers.upstream_connection import Question, UpstreamError
from latebin.core.http import upstream_headers as rules
from latebin.core.http.cors import OURS
from latebin.core.http.reply import Problem, Refused, Reply
from latebin.core.http.request_id import HEADER
from latebin.core.http.status import SWITCHING
from latebin.core.http.upstream_links import Links
from latebin.core.http.upstream_url import Target, base_path, origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from latebin.answers.upstream_connection import Upstream
    from latebin.answers.upstreams import Asker
    from latebin.core.http.upstream_headers import Field
    from latebin.core.http.upstream_response import Head
    from latebin.core.plan import Plan
    from latebin.core.settings import Settings

log = Logger()

TOO_LATE: Final = Problem(504, "The upstream did not begin to answer in time.")

_SENSITIVE: Final = frozenset({b"authorization", b"cookie", b"proxy-authorization"})
"""Headers that an answer to TRACE leaves out (RFC 9110, section 9.3.8)."""


@implementer(IPushProducer)
class Forward:
    """A request that is passed on, and its answer that is passed back.

    Each goes as fast as the other side takes it. While the client is slow, the rest of the answer stays with the
    upstream. While nothing moves for as long as the timeout, and the upstream is waited for, the upstream is given up.

    Args:
        request: the request.
        target: the place at the upstream.
        upstreams: what passes it on.
        clock: the clock of the timeout.
        settings: the timeout, and whether the client's `Host` is kept.
        timing: the `Server-Timing` header of this service, one value more beside those of the upstream.
        plan: the rate of the answer's body, and a fault in its middle.
    """

    def __init__(
        self,
        request: ServedRequest,
        target: Target,
        *,
        upstreams: "Asker",
        clock: IReactorTime,
        settings: "Settings",
        timing: tuple[bytes, bytes],
        plan: "Plan",
    ) -> None:
        self._request = request
        self._plan = plan
        self._longest = settings.max_delay
        self._room = None if plan.place is None or plan.fault is None else plan.place.amount
        self._throttle: Throttle | None = None
        self._fault: Deferred[bytes] | None = None
        self._timing = timing
        self._upstreams = upstreams
        self._clock = clock
        self._timeout = settings.upstream_timeout
        host = request.getHeader(b"Host") or b"" if settings.upstream_host == "keep" else b""
        self._links = Links(origin(target.base), base_path(target.base), target.mount, host)
        self._body = _body(request, clock)
        self._question = _question(request, target, host or self._links.origin.authority, self._body)
        self._sent: Deferred[bytes] | None = None
        self._asking: Upstream | None = None
        self._trailers: tuple[Field, ...] = ()
        self._begun = self._paused = self._ended = self._registered = self._tunnel = False

    def start(self) -> Deferred[bytes]:
        """Ask the upstream, unless the request may not go any further.

        Returns:
            A Deferred that fires with no bytes when the transport has taken the whole answer. Without an answer it
            fails with `Refused`, 502 or 504. If the answer breaks off, the client's connection is reset and the
            Deferred never fires. Cancelling it closes the connection to the upstream.
        """
        self._request.setHeader(*self._timing)
        if rules.forwards_left(self._request.method, _values(self._request, b"Max-Forwards")) == 0:
            _close_body(self._request)
            return succeed(_as_last(self._request).start(self._request))
        sent = self._sent = Deferred(lambda _: self._cancelled())
        if isinstance(self._body, StreamedBody):
            self._body.moved = self._moved
        self._call = self._clock.callLater(self._timeout, self._expired)
        self._asking = self._upstreams.ask(self._question, self)
        return sent

    # The timeout.

    def _moved(self) -> None:
        if self._call.active():
            self._call.reset(self._timeout)

    def _expired(self) -> None:
        starved = isinstance(self._body, StreamedBody) and self._body.starved
        if starved or self._paused or self._throttle:
            # The client is waited for, and has timeouts of its own.
            self._call = self._clock.callLater(self._timeout, self._expired)
            return
        seconds = f"{self._timeout:g} s"
        self._give_up()
        self.failed(UpstreamError(f"it sent nothing for {seconds}", late=True))

    # The upstream's answer.

    def progressed(self) -> None:
        self._moved()
        if self._begun and not self._registered and not self._ended:
            # The headers leave now, and not with a body that has not come.
            self._request.write(b"")
            self._register()

    def interim(self, head: "Head") -> None:
        """Pass an interim response on (RFC 9110, section 15.2).

        A 100 is not passed on: it answers an expectation that was met here.
        """
        if head.status == 100 or self._request.clientproto == b"HTTP/1.0":  # noqa: PLR2004  # Continue
            return
        request, status, fields = self._request, b"%d" % head.status, self._passed_back(head)
        if request.clientproto != b"HTTP/1.1":
            headers = Headers()
            for name, value in fields:
                headers.addRawHeader(name, value)
            request.channel.writeHeaders(b"HTTP/2", status, b"", headers)
            return
        # Not by `writeHeaders`, which ends the headers as those of a final answer end.
        lines = [
            b"HTTP/1.1 %b %b" % (status, head.reason or _phrase(head.status)),
            *(b"%b: %b" % each for each in fields),
        ]
        request.channel.write(b"\r\n".join([*lines, b"", b""]))
        _flush(request)

    def began(self, head: "Head") -> None:
        self._begun = True
        note_write(self._request)
        request, headers = self._request, self._request.responseHeaders
        request.setResponseCode(head.status, head.reason)
        request.defaultContentType = None  # an answer without a Content-Type stays without one
        # The id of the answer stays ours, and so does what its origin may read: an upstream may have its own.
        kept = {HEADER.lower(), *(OURS if headers.hasHeader(b"Access-Control-Allow-Origin") else ())}
        fields = [field for field in self._passed_back(head) if field[0].lower() not in kept]
        fields += [(b"Vary", value) for value in headers.getRawHeaders(b"Vary", [])]
        for name in {b"Server", self._timing[0], *(name for name, _ in fields)}:
            headers.removeHeader(name)
        for name, value in fields:
            headers.addRawHeader(name, value)
        headers.addRawHeader(*self._timing)
        upgrade = head.values(b"upgrade")
        if head.status in (SWITCHING, 426) and upgrade and request.clientproto == b"HTTP/1.1":
            headers.setRawHeaders(b"Upgrade", upgrade)
            headers.addRawHeader(b"Connection", b"Upgrade")
        if head.status == SWITCHING:
            self._switch(head)

    def came(self, data: bytes) -> None:
        if self._room is not None and not self._tunnel:
            data, self._room = data[: self._room], max(self._room - len(data), 0)
        if self._plan.rate is None or self._tunnel:
            self._write(data)
        else:
            self._slowly(data, self._plan.rate)
        if self._room == 0:
            self._give_up()
            self.ended(())

    def _write(self, data: bytes) -> None:
        note_write(self._request)
        self._request.write(data)

    def _slowly(self, data: bytes, rate: int) -> None:
        if self._throttle is None:
            self._throttle = Throttle(rate, self._clock, self._write, self._drained)
            if self._paused:
                self._throttle.pause()
        self._throttle.take(data)
        if self._asking is not None:
            self._asking.pause()

    def _drained(self) -> None:
        if self._ended:
            self._finish()
        elif self._asking is not None and not self._paused:
            self._moved()
            self._asking.resume()

    def ended(self, trailers: "tuple[Field, ...]") -> None:
        self._asking = None
        self._stop_timeout()
        self._ended = True
        self._trailers = trailers
        if not self._paused and not self._throttle:
            self._finish()

    def failed(self, error: UpstreamError) -> None:
        """Refuse the request, or break off an answer that has begun."""
        self._asking = None
        self._stop_timeout()
        # The Deferred of a client that has left fires after its connection is lost.
        if self._sent is None or self._request.channel is None:
            return
        self._ended = True
        note_write(self._request)
        reason = f"{error} ({error.detail})" if error.detail else str(error)
        if self._begun:
            log.warn(
                "an answer of an upstream broke off: {reason}", reason=reason, request_id=request_id(self._request)
            )
            self._break_off()
            return
        log.warn("no answer from an upstream: {reason}", reason=reason, request_id=request_id(self._request))
        sent, self._sent = self._sent, None
        sent.errback(Refused(TOO_LATE if error.late else _unreachable(str(error))))

    def _passed_back(self, head: "Head") -> "list[Field]":
        """Return the headers of a response that are passed back, mapped to the client's paths.

        A 204 and an interim response have no length (RFC 9110, section 8.6).
        """
        without = {b"content-length"} if head.status == 204 or head.status < 200 else set()  # noqa: PLR2004
        kept = rules.end_to_end(head.fields, head.tokens(b"connection"), without)
        return [(name, self._links.header(name, value)) for name, value in kept]

    # The client.

    def pauseProducing(self) -> None:
        self._paused = True
        if self._throttle is not None:
            self._throttle.pause()
        if self._asking is not None:
            self._asking.pause()

    def resumeProducing(self) -> None:
        self._paused = False
        self._moved()
        if self._throttle:
            self._throttle.resume()
        elif self._ended:
            self._finish()
        elif self._asking is not None:
            self._asking.resume()

    def stopProducing(self) -> None:
        """Close the connection to the upstream: the client has left."""
        self._cancelled()

    def _register(self) -> None:
        self._registered = True
        self._request.registerProducer(self, streaming=True)

    def _finish(self) -> None:
        sent, self._sent = self._sent, None
        if sent is None:
            return
        self._unregister()
        self._throttle = None
        if self._room == 0:
            self._break(sent, str(self._plan.fault))
            return
        if self._trailers and not self._tunnel:
            _send_trailers(self._request, rules.trailers(self._trailers))
        sent.callback(b"")

    def _break(self, sent: Deferred[bytes], fault: str) -> None:
        """End the answer with a fault, which the client's disconnect cancels."""
        self._sent = sent
        self._fault = ENDS[fault](self._request, self._plan, self._clock, self._longest)
        self._fault.addErrback(lambda failure: failure.trap(CancelledError))

    def _break_off(self) -> None:
        self._sent = None
        self._request.broken = True
        self._unregister()
        abort(self._request)

    def _cancelled(self) -> None:
        self._sent = None
        self._ended = True
        fault, self._fault = self._fault, None
        if fault is not None:
            fault.cancel()
        if self._throttle is not None:
            self._throttle.stop()
            self._throttle = None
        self._stop_timeout()
        self._unregister()
        self._give_up()

    def _give_up(self) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()

    def _stop_timeout(self) -> None:
        if self._call.active():
            self._call.cancel()
        if isinstance(self._body, StreamedBody):
            # The bound method knows this object, and the request: they would be a cycle.
            self._body.moved = None

    def _unregister(self) -> None:
        # A client that has left has taken the channel with it.
        if self._registered and self._request.channel is not None:
            self._request.unregisterProducer()
        self._registered = False

    # The other protocol, behind a 101.

    def _switch(self, head: "Head") -> None:
        """Pass bytes on both ways from now on.

        There is no timeout, because such a connection may be silent.
        """
        self._tunnel = True
        self._stop_timeout()
        request, asking = self._request, cast("Upstream", self._asking)
        request.channel.writeHeaders(
            b"HTTP/1.1", b"101", head.reason or b"Switching Protocols", request.responseHeaders
        )
        request.startedWriting = 1
        _flush(request)
        self._register()
        if (keep_alive := getattr(request.transport, "setTcpKeepAlive", None)) is not None:
            # A client that has vanished is noticed by the system alone.
            keep_alive(1)
        asking.tunnel(TunnelSource(request.channel))
        request.channel.open_tunnel(asking.write)


@implementer(IPushProducer)
class TunnelSource:
    """The client's connection behind a 101, as the producer of the bytes for the upstream.

    Args:
        channel: the connection, which can be held and released.
    """

    def __init__(self, channel: Any) -> None:  # noqa: ANN401  # a channel with `open_tunnel`
        self._channel = channel

    def pauseProducing(self) -> None:
        self._channel.hold()

    def resumeProducing(self) -> None:
        self._channel.release()

    def stopProducing(self) -> None:
        """Do nothing: that the upstream is gone comes another way."""


def _unreachable(reason: str) -> Problem:
    return Problem(502, f"The upstream gave no answer that can be passed on: {reason}.")


def _question(request: ServedRequest, target: Target, host: bytes, body: IBodyProducer | None) -> Question:
    """Make the request for the upstream.

    It is the client's, with another `Host`, an id and a `Via`.
    """
    given = request.requestHeaders
    named = rules.tokens(_values(request, b"Connection"))
    all_fields = ((name, value) for name, values in given.getAllRawHeaders() for value in values)
    left = rules.forwards_left(request.method, _values(request, b"Max-Forwards"))
    fields = [(b"Host", host), *rules.end_to_end(all_fields, named, rules.MADE_ANEW)]
    if left is not None:
        fields = [(n, v) for n, v in fields if n.lower() != b"max-forwards"] + [(b"Max-Forwards", b"%d" % (left - 1))]
    if identity := request_id(request):
        fields.append((HEADER, identity.encode("ascii")))
    fields = _one_cookie(fields)
    fields.append((b"Via", request.clientproto.removeprefix(b"HTTP/") + b" latebin"))
    takes = b"trailers" in rules.tokens(_values(request, b"TE"))
    return Question(target.upstream, request.method, target.path, tuple(fields), body, asked_upgrade(request), te=takes)


def _one_cookie(fields: "list[Field]") -> "list[Field]":
    """Join the cookies that HTTP/2 may send in several fields (RFC 9113, section 8.2.3)."""
    cookies = [value for name, value in fields if name.lower() == b"cookie"]
    if len(cookies) < 2:  # noqa: PLR2004  # more than one
        return fields
    return [field for field in fields if field[0].lower() != b"cookie"] + [(b"Cookie", b"; ".join(cookies))]


def asked_upgrade(request: ServedRequest) -> bytes:
    """Return the protocols that a request asks its upstream to switch to; empty for none.

    A request of HTTP/1.0, or with a body, asks for none (RFC 9110, section 7.8).
    """
    # Under a plain `Site` the body is Twisted's own file.
    if request.clientproto != b"HTTP/1.1" or getattr(request.content, "announced", None) != 0:
        return b""
    return rules.asked_upgrade(_values(request, b"Connection"), _values(request, b"Upgrade"))


def refuse_unforwardable(request: ServedRequest) -> None:
    """Refuse a request that no upstream can be asked.

    Raises:
        Refused: 400, a header has a control character; 501, it asks for an upgrade that this connection cannot make.
    """
    for name, values in request.requestHeaders.getAllRawHeaders():
        if any(map(rules.has_control, values)):
            raise Refused(
                Problem(
                    400,
                    "A header with a control character in it is not passed on.",
                    parameter=name.decode("latin-1"),
                    accepted="visible characters, spaces and tabs (RFC 9110, section 5.5)",
                )
            )
    if asked_upgrade(request) and not hasattr(request.channel, "open_tunnel"):
        raise Refused(
            Problem(501, "Twisted's own connection passes no upgrade on.", accepted="latebin serve --stack tuned")
        )


def _as_last(request: ServedRequest) -> Reply:
    """Answer OPTIONS or TRACE here, as the last recipient (RFC 9110, section 7.6.2)."""
    if request.method == b"OPTIONS":
        return Reply(204, ((b"Allow", b"OPTIONS, TRACE"),))
    lines = [b"%b %b %b" % (request.method, request.uri, request.clientproto)]
    for name, values in request.requestHeaders.getAllRawHeaders():
        lines += [b"%b: %b" % (name, value) for value in values if name.lower() not in _SENSITIVE]
    body = b"\r\n".join([*lines, b"", b""])
    described = (b"Content-Type", b"message/http"), (b"Content-Length", b"%d" % len(body))
    return Reply(200, (*described, (b"Cache-Control", b"no-store"), (b"X-Content-Type-Options", b"nosniff")), body)


def _send_trailers(request: ServedRequest, trailers: "list[Field]") -> None:
    """End a body with trailers, if the client takes them (RFC 9110, section 6.5)."""
    if not trailers or b"trailers" not in rules.tokens(_values(request, b"TE")):
        return
    send: Callable[[list[Field]], object] | None = getattr(request.channel, "send_trailers", None)
    if send is not None:
        send(trailers)
    elif request.chunked:
        fields = b"".join(b"%b: %b\r\n" % field for field in trailers)
        request.channel.writeSequence([b"0\r\n", fields, b"\r\n"])
        # The last chunk is written; Twisted's request would write another.
        request.chunked = 0


def _values(request: ServedRequest, name: bytes) -> list[bytes]:
    return list(request.requestHeaders.getRawHeaders(name, []))


def _phrase(status: int) -> bytes:
    return {102: b"Processing", 103: b"Early Hints"}.get(status, b"Interim")


def _flush(request: ServedRequest) -> None:
    """Let headers leave that no `write` of the request has written."""
    flush: Callable[[], object] | None = getattr(request.channel, "flush", None)
    if flush is not None:
        flush()


def _close_body(request: ServedRequest) -> None:
    if isinstance(request.content, StreamedBody):
        request.content.close()


def _body(request: ServedRequest, clock: IReactorTime) -> IBodyProducer | None:
    """Return the body as a producer; None for no body.

    A streamed body is a producer itself; any other is in a file by now.
    """
    content: Any = request.content
    if isinstance(content, StreamedBody):
        return content
    content.seek(0, 2)
    if not content.tell():
        return None
    content.seek(0)
    from twisted.web.client import FileBodyProducer  # noqa: PLC0415  # for Twisted's own requests

    return FileBodyProducer(content, Cooperator(scheduler=lambda call: clock.callLater(0, call)))
