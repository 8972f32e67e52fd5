"""The private names of the libraries, and the one room that may use them."""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2] / "app" / "latebin"

LIBRARIES = {"h2", "klein", "treq", "twisted", "werkzeug"}

MODULES = sorted(path.relative_to(HOUSE) for path in HOUSE.rglob("*.py") if path.name != "__main__.py")

USED = {
    "channel.py": """
        _dataBuffer _handlingRequest _networkProducer _savedTimeOut _send100Continue _waitingForTransport
    """,
    "channel_head.py": """
        _buffer _command _finishRequestBody _path _rawHeaders _receivedHeaderCount _receivedHeaderSize _send100Continue
        _transferDecoder _version twisted.web.http._IdentityTransferDecoder
    """,
    "channel_limits.py": """
        _buffer _command _handlingRequest _path _receivedHeaderCount _receivedHeaderSize
        _respondToBadRequestAndDisconnect _savedTimeOut _transferDecoder _version
    """,
    "channel_output.py": """
        _rawHeaders _tempDataBuffer _tempDataLen _waitingForTransport
    """,
    "channel_share.py": """
        _buffer _busyReceiving _finishRequestBody _handlingRequest _networkProducer _transferDecoder
        _waitingForTransport
    """,
    "connection.py": """
        _callLater _channel _factory _negotiatedProtocol _networkProducer _requestFactory _site _timeOut
        twisted.web.http._GenericHTTPChannelProtocol
    """,
    "http2.py": """
        _abortingCall _bufferedControlFrames _conn _consumerBlocked _flushBufferedControlData _inboundDataBuffer
        _log _maxBufferedControlFrameBytes _producerProducing _reactor _request _requestAborted _requestDataReceived
        _requestDone _requestEnded _requestReceived _resetTokenBurst _resetTokenRate _resetTokenTimestamp
        _resetTokens _sendPrioritisedData _tryToWriteControlData twisted.web._http2.H2Connection
        twisted.web._http2.H2Stream
    """,
    "http2_frames.py": """
        _actual_content_length _begin_new_stream _closed_streams _data _events _frame_dispatch_table
        _handle_data_on_closed_stream _inbound_flow_control_window_manager _prepare_for_sending
        _receive_alt_svc_frame _receive_data_frame _receive_frame _receive_goaway_frame _receive_headers_frame
        _receive_naked_continuation _receive_priority_frame _receive_rst_stream_frame _receive_settings_frame
        _receive_unknown_frame _stream_closed_by _stream_is_closed_by_reset _update_header_buffer
    """,
    "klein.py": """
        _app _applyToRequest _error_handlers klein._app.ErrorMethods klein._resource.KleinResource
        klein._resource.StandInResource klein._resource.URLDecodeError klein._resource.extractURLparts
        klein._resource.route_metadata
    """,
    "ports.py": """
        _fromListeningDescriptor _shouldShutdown
    """,
    "reactor.py": """
        _doReadOrWrite _poller _selectables
    """,
    "request.py": """
        _encoder _inFakeHead _rawHeaders
    """,
    "tls_share.py": "_aborted _handshakeDone",
    "tls.py": """
        _aborted _aggregator _clock _flushReceiveBIO _flushSendBIO _lostTLSConnection _producer _shutdownTLS
        _tlsConnection _tlsShutdownFinished
    """,
}
"""By module of the overrides: what it imports from private modules, then the private attributes that it uses."""


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def of_library(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in LIBRARIES


@cache
def tree(module: Path) -> ast.Module:
    return ast.parse((HOUSE / module).read_text())


@cache
def nodes(module: Path) -> tuple[ast.AST, ...]:
    """Return all nodes of a module, which several tests go through."""
    return tuple(ast.walk(tree(module)))


def stored(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the names that a piece of source gives to attributes, functions, classes and variables."""
    for each in nodes:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield each.name
        elif isinstance(each, ast.Name | ast.Attribute) and isinstance(each.ctx, ast.Store):
            yield each.id if isinstance(each, ast.Name) else each.attr


@cache
def own() -> frozenset[str]:
    """Return the private names that the package itself gives to something."""
    return frozenset(name for module in MODULES for name in stored(nodes(module)) if private(name))


@cache
def inherited(base: type) -> frozenset[str]:
    """Return the private names of the attributes that a library's class has."""
    try:
        source = ast.parse(textwrap.dedent(inspect.getsource(base)))
    except (OSError, TypeError):  # a class that is made when it is run
        return frozenset(filter(private, vars(base)))
    return frozenset(filter(private, (*vars(base), *stored(ast.walk(source)))))


def bases(module: Path, name: str) -> Iterator[type]:
    """Yield the library classes that a class of a module is made of."""
    path = ".".join(("latebin", *module.with_suffix("").parts))
    found = getattr(importlib.import_module(path), name, None)
    if isinstance(found, type):
        yield from (each for each in found.__mro__ if of_library(each.__module__))


def imports(module: Path) -> Iterator[str]:
    for node in nodes(module):
        if isinstance(node, ast.ImportFrom) and node.module and of_library(node.module):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if any(map(private, full.split("."))):
                    yield full


def modules(module: Path) -> set[str]:
    """Return the names of whole modules of other libraries."""
    found = [alias for node in nodes(module) if isinstance(node, ast.Import) for alias in node.names]
    return {alias.asname or alias.name for alias in found if not of_library(alias.name)}


def attributes(module: Path) -> Iterator[str]:
    """Yield the private names that a module uses or overrides."""
    inside = set()
    for node in nodes(module):
        if isinstance(node, ast.ClassDef):
            names = {name for base in bases(module, node.name) for name in inherited(base)}
            if names:
                of_class = list(ast.walk(node))
                mentioned = {each.attr for each in of_class if isinstance(each, ast.Attribute)} | {*stored(of_class)}
                inside |= names & mentioned
    yield from inside
    local, elsewhere = set(stored(nodes(module))), modules(module)
    for node in nodes(module):
        if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in inside:
            of = node.value.id if isinstance(node.value, ast.Name) else ""
            # An object of another class has none of our private names, unless this module gives it to the class.
            if of not in elsewhere and node.attr not in (own() if of == "self" else local):
                yield node.attr


def used(module: Path) -> str:
    return " ".join(sorted({*imports(module), *attributes(module)}))


@pytest.mark.parametrize("module", [each for each in MODULES if each.parts[0] == "overrides"], ids=str)
def test_overrides(module: Path) -> None:
    """A module of the overrides uses exactly the private names that are listed."""
    assert used(module) == " ".join(USED.get(module.name, "").split())


@pytest.mark.parametrize("room", sorted({module.parts[0] for module in MODULES} - {"overrides"}))
def test_elsewhere(room: str) -> None:
    """A module outside the overrides uses public names of the libraries alone."""
    names = {str(module): used(module) for module in MODULES if module.parts[0] == room}
    assert {module: found for module, found in names.items() if found} == {}


def test_an_attribute_of_a_base() -> None:
    """A private name is found when a class or another object has it."""
    found = used(Path("overrides/channel_limits.py")).split()
    assert {"_handlingRequest", "_savedTimeOut", "_respondToBadRequestAndDisconnect"} <= set(found)
    assert "_rawHeaders" in used(Path("overrides/channel_output.py")).split()


@pytest.mark.parametrize("module", sorted(USED))
def test_head(module: str) -> None:
    """A module's head names the checked versions when it uses private names."""
    head = ast.get_docstring(tree(Path("overrides", module))) or ""
    assert re.search(r"(Twisted|Klein|h2)\s[0-9]+\.[0-9]+", head)
