import json
import subprocess
import sys

import pytest

from latebin.overrides.imports import POSTPONED, SECURE, PostponedModule, prepare
from tests.support.process import environment

BEGIN = """
import json, sys
from latebin.overrides.imports import POSTPONED, PostponedModule, prepare
prepare(secure={secure})
import twisted.web.server, klein
waiting = lambda: sorted(name for name, module in sys.modules.items() if isinstance(module, PostponedModule))
"""


def run(code: str, *, secure: bool = False) -> object:
    """Prepare a Python of its own, and return what it writes as JSON."""
    command = [sys.executable, "-W", "error", "-c", BEGIN.format(secure=secure) + code]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60, env=environment())
    return json.loads(done.stdout)


def test_postponed() -> None:
    """No postponed module has run when Twisted and Klein are imported."""
    assert run("print(json.dumps(waiting()))") == sorted(POSTPONED)


@pytest.mark.parametrize(
    ("module", "use"),
    [
        ("asyncio", "async def f(): return 1\nassert asyncio.run(f()) == 1"),
        ("http.cookiejar", "from http.cookiejar import CookieJar; CookieJar()"),
        ("klein", "assert klein.__version__ and klein.Form and klein.Klein is klein._app.Klein"),
        ("urllib.request", "import urllib.request; urllib.request.urlopen('data:,x').close()"),
        ("werkzeug", "import werkzeug; werkzeug.Client(lambda environ, start: [])"),
    ],
)
def test_asked_for(module: str, use: str) -> None:
    """A postponed module runs, and is whole, when it is asked for a name."""
    code = f"import asyncio\n{use}\nimport importlib\nall = vars(importlib.import_module({module!r}))\n"
    assert module not in run(f"{code}print(json.dumps(waiting()))")  # type: ignore[operator]  # a list


def test_unknown_name() -> None:
    """A postponed module raises what the module itself does when it has no such name."""
    code = "import werkzeug\ntry: werkzeug.nothing\nexcept AttributeError as error: print(json.dumps(str(error)))"
    assert run(code) == "module 'werkzeug' has no attribute 'nothing'"


def test_without_tls() -> None:
    """Twisted works without TLS, and the optional libraries are missing, when none is needed."""
    code = """
from twisted.internet import reactor, tcp
from twisted.web import http
missing = []
for name in ("OpenSSL", "service_identity", "h2", "priority"):
    try: __import__(name)
    except ImportError: missing.append(name)
print(json.dumps([missing, http.H2_ENABLED, hasattr(reactor, "listenTCP")]))
"""
    assert run(code) == [list(SECURE), False, True]


def test_with_tls() -> None:
    """Twisted has TLS and HTTP/2 when they are needed."""
    code = "from twisted.web import http; import OpenSSL; print(json.dumps(http.H2_ENABLED))"
    assert run(code, secure=True) is True


def test_names_of_submodules() -> None:
    """A package has nothing but a submodule under the submodule's name when it has run."""
    code = """
from importlib import import_module
from pkgutil import iter_modules
clashes = []
for name in POSTPONED:
    module = import_module(name)
    assert not hasattr(module, "no_such_name")
    for _, below, _ in iter_modules(getattr(module, "__path__", [])):
        if below in vars(module) and vars(module)[below] is not sys.modules.get(f"{name}.{below}"):
            clashes.append(f"{name}.{below}")
print(json.dumps(clashes))
"""
    assert run(code) == []


def test_where_twisted_is_imported() -> None:
    """Nothing changes when Twisted is imported already."""
    before = dict(sys.modules)
    prepare(secure=False)
    assert sys.modules == before
    assert not any(isinstance(module, PostponedModule) for module in sys.modules.values())
