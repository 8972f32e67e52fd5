"""The connections of a process to Redis or Valkey: one for scripts, one for messages.

txredisapi speaks the protocol. Its own pools wait for a connection that is away and have no deadline for a connection
that is silent. So the connections are made here: a script fails at once while there is no connection.
"""

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha1
from secrets import token_hex
from typing import Any, Final, Protocol, cast

import attrs
import txredisapi
from twisted.internet.defer import Deferred, FirstError, fail, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from latebin.core.http.reply import Problem, Refused
from latebin.core.state_url import StateUrl
from latebin.state.interfaces import StateError

log = Logger()

PREFIX: Final = "latebin:"
"""The beginning of every key and of every channel."""

PATIENCE: Final = 2.0
"""Seconds for a connection, and of silence where a reply is due; then the connection is aborted."""

START_TIME: Final = 10.0
"""Seconds for a first attempt, with the time that a name server takes."""

FIRST_RETRY: Final = 0.1
"""Seconds until a lost connection is made again, the first time; then twice as long each time."""

LONGEST_RETRY: Final = 1.0
"""Seconds that it takes at most until a connection is tried again."""

BEAT: Final = 2.0
"""Seconds from one look at the connections to the next, which finds one that is silent."""

SAME_COMPLAINT: Final = 60.0
"""Seconds until an error of Redis is logged again that has come since; each script may fail at each request."""

NO_REDIS: Final = ValueError("the server does not speak Redis' protocol")
"""The reason to end a connection that brings other bytes than replies."""

AWAY: Final = Problem(
    503,
    "The state in Redis cannot be reached; try again later.",
    parameter="state",
    accepted="requests without a key, a seed, a gate or a pool meanwhile",
    headers=((b"Retry-After", b"1"),),
)
"""The refusal of what needs Redis while Redis is away."""

UNABLE: Final = frozenset(
    {
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOAUTH",
        "NOPERM",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
        "UNKILLABLE",
        "WRONGTYPE",
    }
)
"""The codes of errors that say that Redis cannot do it now; another error is a defect of a script.

A key has a wrong type if something else writes in the same database; deleting that key is the cure.
"""


class Observer(Protocol):
    """The metrics that a store fills in."""

    def state_up(self, up: bool, /) -> None:  # noqa: FBT001  # the state itself
        """Note whether Redis is there."""
        ...

    def state_answered(self, seconds: float, /) -> None:
        """Count a reply, with its time in seconds."""
        ...

    def state_failed(self) -> None:
        """Count a script without a reply."""
        ...


class _Unobserved:
    def state_up(self, up: bool) -> None:  # noqa: FBT001  # as above
        """Count nothing."""

    def state_answered(self, seconds: float) -> None:
        """Count nothing."""

    def state_failed(self) -> None:
        """Count nothing."""


@attrs.frozen
class Script:
    """A script in Lua, which Redis runs as one step.

    Attributes:
        text: its source; KEYS and ARGV are as for EVAL.
        sha: its name in Redis, for EVALSHA.
    """

    text: str
    sha: str = attrs.field(init=False)

    @sha.default
    def _name(self) -> str:
        return sha1(self.text.encode()).hexdigest()  # noqa: S324  # the name that Redis gives it


_Lost = Callable[[object, Failure], object]


class _Reads:
    """The reads of a connection.

    Attributes:
        reads: how often bytes came, or came to their turn.
        given_up: the reason for which this side ended the connection; None without one.
    """

    transport: ITCPTransport
    reads = 0
    given_up: Failure | None = None

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:  # noqa: FBT001, FBT002  # as txredisapi has it
        self.reads += 1
        try:
            super().dataReceived(data, unpause)  # type: ignore[misc]  # that of txredisapi
        except Exception:  # noqa: BLE001  # txredisapi raises several
            self.give_up(NO_REDIS)

    def lineLengthExceeded(self, line: bytes) -> None:  # as txredisapi has it
        self.give_up(NO_REDIS)

    def give_up(self, reason: Exception) -> None:
        """End the connection, whose commands fail."""
        self.given_up = Failure(reason)
        self.transport.abortConnection()


class _Commands(_Reads, txredisapi.RedisProtocol):  # type: ignore[misc]  # txredisapi has no annotations
    """A connection that runs scripts.

    Args:
        lost: is called with this protocol and the reason when the connection is lost, before its commands fail.
    """

    def __init__(self, lost: _Lost) -> None:
        # Replies as Redis sent them: neither decoded nor taken for numbers.
        super().__init__(charset=None, convertNumbers=False)
        self.scripts: set[str] = set()
        self._lost = lost

    def connectionLost(self, why: Failure) -> None:
        self._lost(self, self.given_up or why)
        super().connectionLost(why)


class _Messages(_Reads, txredisapi.SubscriberProtocol):  # type: ignore[misc]  # as above
    """A connection that hears messages.

    Args:
        lost: as for `_Commands`.
        heard: takes the channel and the text of each message.
    """

    def __init__(self, lost: _Lost, heard: Callable[[bytes, bytes], object]) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self._lost = lost
        self._heard = heard

    def messageReceived(self, pattern: bytes | None, channel: bytes, message: bytes) -> None:
        self._heard(channel, message)

    def connectionLost(self, why: Failure) -> None:
        self._lost(self, self.given_up or why)
        super().connectionLost(why)


class _Deadline:
    """The end of a connection on which a reply is due and nothing comes.

    Args:
        clock: the clock.
        protocol: the connection.
    """

    def __init__(self, clock: IReactorTime, protocol: Any) -> None:  # noqa: ANN401  # as txredisapi has it
        self._clock = clock
        self._protocol = protocol
        self._again()

    def cancel(self) -> None:
        """Let the connection be; the reply is there."""
        if self._call.active():
            self._call.cancel()

    def _again(self) -> None:
        self._reads = self._protocol.reads
        self._call = self._clock.callLater(PATIENCE, self._over)

    def _over(self) -> None:
        # Where this process itself stood still, the reply waits to be read: one more turn does that.
        self._call = self._clock.callLater(0, self._abort)

    def _abort(self) -> None:
        if self._protocol.reads == self._reads:
            self._protocol.give_up(TimeoutError(f"no reply within {PATIENCE:g}s"))
        else:
            self._again()


@attrs.frozen
class _Place:
    """The way to Redis: an endpoint, with the user and the database.

    Attributes:
        endpoint: the endpoint.
        url: the user and the database.
        clock: the clock of the deadlines.
        refused: is called when Redis refuses a new connection, with its error.
    """

    endpoint: IStreamClientEndpoint
    url: StateUrl
    clock: IReactorTime
    refused: Callable[[str], object]

    def ask(self, protocol: Any, *command: object) -> Deferred[Any]:  # noqa: ANN401  # as txredisapi has it
        """Send a command, whose reply has a deadline."""
        reply: Deferred[Any] = protocol.execute_command(*command)
        return reply.addBoth(_stopped, _Deadline(self.clock, protocol))

    async def greet(self, protocol: Any) -> None:  # noqa: ANN401  # as above
        """Make a new connection one that can be used."""
        url = self.url
        if url.password is not None:
            await self.ask(protocol, "AUTH", *([] if url.user is None else [url.user]), url.password)
        if url.database:
            await self.ask(protocol, "SELECT", url.database)
        if await self.ask(protocol, "PING") != "PONG":
            raise NO_REDIS


class _Connection:
    """One connection, which is made again when it is lost.

    A `ClientService` of Twisted would not do: it breaks when a connection is lost before it is ready.

    Args:
        place: the way to Redis.
        make: makes a protocol; its argument is to be called when the connection is lost.
        ready: is called when a connection can be used.
        lost: is called when a connection that was ready is lost.

    Attributes:
        protocol: the protocol that can be used; None without one.
    """

    def __init__(
        self,
        place: _Place,
        make: Callable[[_Lost], Any],
        ready: Callable[[], object],
        lost: Callable[[], object],
    ) -> None:
        self.protocol: Any = None
        self._place = place
        self._factory = Factory.forProtocol(lambda: make(self._ended))
        self._factory.noisy = False
        self._ready = ready
        self._lost = lost
        self._open: Any = None
        self._failures = 0
        self._why: Failure | None = None
        self._late: IDelayedCall | None = None
        self._started: Deferred[None] = Deferred()
        self._trying: Deferred[None] | None = None
        self._retry: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None

    def start(self) -> Deferred[None]:
        """Begin to connect.

        Returns:
            A Deferred that fires when the first connection is ready; it fails when the first attempt fails.
        """
        self._late = self._place.clock.callLater(START_TIME, self._give_up)
        self._try()
        return self._started.addBoth(self._on_time)

    def stop(self) -> Deferred[None]:
        """Close the connection, and connect no more."""
        self._stopped = Deferred()
        if self._retry is not None:
            self._retry.cancel()
        if self._trying is not None:
            self._trying.cancel()
        if self._open is None:
            self._stopped.callback(None)
        else:
            self._open.transport.abortConnection()
        return self._stopped

    def ask(self, *command: object) -> Deferred[Any]:
        """Send a command on the connection that is ready."""
        return self._place.ask(self.protocol, *command)

    def _on_time(self, result: Failure | None) -> Failure | None:
        if self._late is not None and self._late.active():
            self._late.cancel()
        return result

    def _give_up(self) -> None:
        self._started.errback(TimeoutError(f"no answer within {START_TIME:g}s"))

    def _try(self) -> None:
        self._retry = None
        self._trying = Deferred.fromCoroutine(self._connect()).addCallbacks(self._begun, self._not_begun)

    async def _connect(self) -> None:
        self._open = await self._place.endpoint.connect(self._factory)
        await self._place.greet(self._open)

    def _begun(self, _: None) -> None:
        self._trying = None
        self._failures = 0
        self.protocol = self._open
        self._ready()
        if not self._started.called:
            self._started.callback(None)

    def _not_begun(self, failure: Failure) -> None:
        self._trying = None
        if self._open is not None:
            self._open.transport.abortConnection()
        if failure.check(txredisapi.ResponseError):
            self._place.refused(_reason(failure))
        if not self._started.called:
            # The command that failed says less than the end of its connection, such as a certificate.
            lost = failure.check(txredisapi.ConnectionError) and self._why
            self._started.errback(lost or failure)
        self._try_later()

    def _ended(self, protocol: object, why: Failure) -> None:
        """Note the end of a connection, ready or not."""
        self._why = why
        if self._open is protocol:
            self._open = None
        if self.protocol is not None and self.protocol is protocol:
            self.protocol = None
            self._lost()
            self._try_later()
        if self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)

    def _try_later(self) -> None:
        if self._stopped is None:
            wait = min(FIRST_RETRY * 2 ** min(self._failures, 10), LONGEST_RETRY)
            self._failures += 1
            self._retry = self._place.clock.callLater(wait, self._try)


@attrs.define(eq=False)
class Subscription:
    """A function that hears the messages of a channel.

    Attributes:
        channel: the channel.
        heard: takes the text of each message.
        again: is called when messages may have been missed.
        begun: whether Redis has confirmed the subscription on this connection.
    """

    channel: bytes
    heard: Callable[[bytes], object]
    again: Callable[[], object]
    _store: "Store"
    begun: bool = False

    def stop(self) -> None:
        """Hear no more; a second call has no effect."""
        self._store.forget(self)


class Store:
    """The Redis of a process, with its two connections.

    Args:
        reactor: makes the connections.
        clock: the clock of all deadlines.
        url: where Redis is.
        observer: the metrics.

    Attributes:
        instance: the name of this process in Redis, drawn at random.
        url: where Redis is.
    """

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401  # several interfaces of a reactor
        clock: IReactorTime,
        url: StateUrl,
        observer: Observer | None = None,
    ) -> None:
        self.instance = token_hex(10)
        self.url = url
        self.observer: Observer = observer or _Unobserved()
        self._clock = clock
        self._channels: dict[bytes, list[Subscription]] = {}
        place = _Place(_endpoint(reactor, url), url, clock, self._complain)
        self._commands = _Connection(place, _Commands, self._ready, self._lost)
        self._messages = _Connection(place, partial(_Messages, heard=self._heard), self._listen_again, self._lost)
        self._beating: IDelayedCall | None = None
        self._on_beat: list[Callable[[], object]] = []
        self._up = False
        self._stopping = False
        self._complaints: dict[str, float] = {}

    @property
    def connected(self) -> bool:
        """Whether both connections can be used."""
        return self._commands.protocol is not None and self._messages.protocol is not None

    def start(self) -> Deferred[None]:
        """Connect, and connect again whenever a connection is lost.

        Returns:
            A Deferred that fires when both connections can be used. It fails with StateError when Redis cannot be
            reached at the first attempt; the attempts go on until `stop`.
        """
        self._beat()
        both = gatherResults([self._commands.start(), self._messages.start()], consumeErrors=True)
        return both.addCallbacks(lambda _: None, self._unreachable)

    def stop(self) -> Deferred[Any]:
        """Close the connections for good."""
        self._stopping = True
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None
        return gatherResults([self._commands.stop(), self._messages.stop()])

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | float] = ()) -> Deferred[Any]:
        """Run a script.

        Scripts run in the order of the calls. A reply is bytes, an integer, None, or a flat list of these. Cancelling
        the Deferred drops the reply; the script may have run.

        Args:
            script: the script.
            keys: its KEYS.
            arguments: its ARGV.

        Returns:
            A Deferred of the reply. If Redis is away or the connection is lost, it fails with Refused, a 503, at once.
            If Redis is silent, it fails so after PATIENCE. The script may have run where the reply is lost.
        """
        if self._commands.protocol is None:
            self.observer.state_failed()
            return fail(Refused(AWAY))
        begun = self._clock.seconds()
        rest = len(keys), *keys, *map(_written, arguments)
        known: set[str] = self._commands.protocol.scripts
        # Not by EVALSHA and then by EVAL: other scripts would overtake this one.
        if script.sha in known:
            asked = self._commands.ask("EVALSHA", script.sha, *rest)
            asked.addErrback(partial(self._unknown, "EVAL", script.text, *rest))
        else:
            known.add(script.sha)
            asked = self._commands.ask("EVAL", script.text, *rest)
        # Not the Deferred of the reply itself: cancelling it would be an error of the connection.
        result: Deferred[Any] = Deferred()
        asked.addCallback(self._answered, begun).addErrback(self._failed).addBoth(_pass, result)
        return result

    def listen(self, channel: str, heard: Callable[[bytes], object], again: Callable[[], object]) -> Subscription:
        """Hear the messages of a channel.

        Args:
            channel: the channel.
            heard: takes the text of each message.
            again: is called when both connections are there for the first time, and whenever one of them was made
                again: messages may have been missed, so the caller reads the state itself.
        """
        subscription = Subscription(channel.encode(), heard, again, self)
        others = self._channels.setdefault(subscription.channel, [])
        others.append(subscription)
        if self._messages.protocol is not None:
            self._subscribe(subscription.channel)
        return subscription

    def on_beat(self, function: Callable[[], object]) -> None:
        """Call a function every BEAT seconds while both connections can be used."""
        self._on_beat.append(function)

    def forget(self, subscription: Subscription) -> None:
        """End a subscription, as its `stop` does."""
        others = self._channels.get(subscription.channel, [])
        if subscription not in others:
            return
        others.remove(subscription)
        if not others:
            del self._channels[subscription.channel]
            if self._messages.protocol is not None:
                self._messages.ask("UNSUBSCRIBE", subscription.channel).addErrback(self._unheard)

    def _unreachable(self, failure: Failure) -> None:
        # gatherResults wraps the first failure.
        first = cast("FirstError", failure.value).subFailure
        raise StateError(f"cannot reach {self.url}: {_reason(first)}")

    def _answered(self, reply: Any, begun: float) -> Any:  # noqa: ANN401  # as Redis replies
        self.observer.state_answered(self._clock.seconds() - begun)
        return reply

    def _failed(self, failure: Failure) -> Failure:
        self.observer.state_failed()
        if failure.check(txredisapi.ConnectionError):
            return Failure(Refused(AWAY))
        if _code(failure) in UNABLE:
            self._complain(_reason(failure))
            return Failure(Refused(AWAY))
        return failure

    def _unknown(self, *command: Any) -> Any:  # noqa: ANN401  # as txredisapi has it
        """Send a script's text where Redis has forgotten it."""
        *text, failure = command
        if _code(failure) != "NOSCRIPT" or self._commands.protocol is None:
            return failure
        return self._commands.ask(*text)

    def _complain(self, text: str) -> None:
        """Log an error of Redis, unless its code was logged a short time ago."""
        # The text behind the code names the script, and each request runs several.
        code, now = text.partition(" ")[0], self._clock.seconds()
        if now >= self._complaints.get(code, now):
            self._complaints[code] = now + SAME_COMPLAINT
            log.warn("the state at {url} fails: {text}", url=str(self.url), text=text)

    def _ready(self) -> None:
        """Begin with a connection for scripts."""
        self._changed()
        for subscriptions in list(self._channels.values()):
            self._begin_again([each for each in subscriptions if each.begun])

    def _listen_again(self) -> None:
        """Begin with a connection for messages."""
        self._changed()
        for channel in self._channels:
            self._subscribe(channel)

    def _lost(self) -> None:
        if self._messages.protocol is None:
            for subscriptions in self._channels.values():
                for each in subscriptions:
                    each.begun = False
        self._changed()

    def _changed(self) -> None:
        if self._up == self.connected:
            return
        self._up = self.connected
        if self._stopping:
            return
        self._complaints.clear()
        self.observer.state_up(self._up)
        if self._up:
            log.info("the state at {url} is there", url=str(self.url))
        else:
            log.warn("the state at {url} is away: what needs it is refused", url=str(self.url))

    def _subscribe(self, channel: bytes) -> None:
        self._messages.ask("SUBSCRIBE", channel).addCallbacks(lambda _: self._subscribed(channel), self._unheard)

    def _subscribed(self, channel: bytes) -> None:
        subscriptions = [each for each in self._channels.get(channel, ()) if not each.begun]
        for each in subscriptions:
            each.begun = True
        self._begin_again(subscriptions)

    def _begin_again(self, subscriptions: list[Subscription]) -> None:
        if self.connected:
            for each in subscriptions:
                _call(each.again)

    def _heard(self, channel: bytes, message: bytes) -> None:
        for each in list(self._channels.get(channel, ())):
            _call(each.heard, message)

    def _unheard(self, failure: Failure) -> None:
        """Let a lost connection be: a new one subscribes again."""
        if not failure.check(txredisapi.ConnectionError):
            self._complain(_reason(failure))

    def _beat(self) -> None:
        """Look for a sign of life on both connections."""
        self._beating = self._clock.callLater(BEAT, self._beat)
        for each in (self._commands, self._messages):
            if each.protocol is not None:
                each.ask("PING").addErrback(self._unheard)
        if self.connected:
            for function in self._on_beat:
                _call(function)


def _endpoint(reactor: Any, url: StateUrl) -> IStreamClientEndpoint:  # noqa: ANN401  # as Twisted has it
    endpoint = HostnameEndpoint(reactor, url.host, url.port, timeout=PATIENCE)
    if not url.secure:
        return endpoint
    from twisted.internet.ssl import optionsForClientTLS  # noqa: PLC0415  # for a state over TLS

    return wrapClientTLS(optionsForClientTLS(url.host), endpoint)


def _written(argument: str | bytes | float) -> object:
    # txredisapi writes six decimals.
    return repr(argument) if isinstance(argument, float) else argument


def _stopped(result: Any, late: _Deadline) -> Any:  # noqa: ANN401  # a reply, or a Failure
    late.cancel()
    return result


def _pass(result: Any, waiting: Deferred[Any]) -> None:  # noqa: ANN401  # as above
    waiting.callback(result)


def _code(failure: Failure) -> str:
    """Return the code at the beginning of an error of Redis."""
    return str(failure.value).partition(" ")[0] if failure.check(txredisapi.ResponseError) else ""


def _reason(failure: Failure) -> str:
    value = failure.value
    if value is not None and value.args and isinstance(value.args[0], list):
        # OpenSSL's errors, each with its library, its function and its text.
        return ", ".join(str(each[-1]) for each in value.args[0])
    return str(value).rstrip(".") or type(value).__name__


def _call(function: Callable[..., object], *arguments: object) -> None:
    """Call a listener, whose failure is its own."""
    try:
        function(*arguments)
    except Exception:  # noqa: BLE001  # the other listeners, and the connection, go on
        log.failure("a listener of the state failed")
