"""Imports of Twisted, Klein and Werkzeug that a service spares itself, or puts off.

Twisted imports pyOpenSSL, with all of cryptography, and h2 if they are installed. They take 14 MB, and a service
without TLS has no use for them. Where they are missing, Twisted works as it does without its extras `tls` and `http2`.

Werkzeug's package imports its test client and its development server; `twisted.internet.defer` imports all of asyncio
for three names. With them come `http.client` and `ssl`, 4 MB in all. From Python 3.15 on, such imports can be lazy
without a module of this kind (PEP 810).

Checked with Twisted 25.5 and 26.10, Klein 24.8 and Werkzeug 3.1. The private names of these libraries play no part.
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any, Final

SECURE: Final = ("OpenSSL", "service_identity", "h2", "priority")
"""Optional dependencies of Twisted that only TLS needs; HTTP/2 is agreed on over TLS."""

POSTPONED: Final[Mapping[str, Mapping[str, str]]] = {
    "asyncio": {
        "AbstractEventLoop": "asyncio.events",
        "Future": "asyncio.futures",
        "iscoroutine": "asyncio.coroutines",
    },
    "http.cookiejar": {},
    "klein": {"Klein": "klein._app", "Response": "klein._dihttp"},
    "urllib.request": {},
    "werkzeug": {},
}
"""Modules that run when a name is first asked of them.

A name that has its own module here is imported from there, without the rest of the package.
"""

_LOCK: Final = RLock()


def prepare(*, secure: bool) -> None:
    """Spare this process imports that it does not need.

    It has no effect where Twisted is imported already.

    Args:
        secure: whether the process needs TLS; if not, every import of `SECURE` fails from here on.
    """
    if "twisted.internet" in sys.modules:
        return
    if not secure:
        # None marks a module that is not there, installed or not (Python's reference, section 5.3.1).
        sys.modules.update(dict.fromkeys(SECURE))  # type: ignore[arg-type]  # it declares modules alone
    for name in POSTPONED.keys() - sys.modules.keys():
        _postpone(name)


class PostponedModule(ModuleType):
    """A module that runs when it is first asked for an unknown name."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # a module has anything
        if name == "__path__":  # the import system asks each module for it, to learn whether it is a package
            raise AttributeError(name)
        found = self._found(name)
        if found is None:
            self._run()
            found = getattr(self, name)
        return found

    def _found(self, name: str) -> object:
        """Import a submodule, or a name from its own module, without the package."""
        home = POSTPONED[self.__name__].get(name)
        if home is not None:
            return getattr(import_module(home), name)
        below = f"{self.__name__}.{name}"
        return import_module(below) if "__path__" in vars(self) and find_spec(below) else None

    def _run(self) -> None:
        with _LOCK:
            if isinstance(self, PostponedModule):  # and not meanwhile, in another thread
                self.__class__ = ModuleType  # type: ignore[assignment]  # what it is from here on
                self.__spec__.loader.exec_module(self)  # type: ignore[union-attr]  # `_postpone` found both


def _postpone(name: str) -> None:
    parent, _, last = name.rpartition(".")
    spec = find_spec(name)
    if spec is None:
        return
    module = sys.modules[name] = module_from_spec(spec)
    module.__class__ = PostponedModule
    if parent:
        setattr(sys.modules[parent], last, module)
