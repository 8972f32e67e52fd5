"""The address of the state that several processes have in common."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

import attrs

FORM: Final = "redis://HOST:PORT/DB, with a percent-encoded USER:PASSWORD@ if needed, or rediss:// for TLS"

PORT: Final = 6379
"""The port of Redis where a URL has none."""

MOST_DATABASE: Final = 1_000_000

_BLANK: Final = re.compile(r"[\x00-\x20\x7f]")

_DATABASE: Final = re.compile("/?|/[0-9]{1,7}", re.ASCII)


@attrs.frozen
class StateUrl:
    """The address of a Redis or Valkey.

    Attributes:
        host: a name or an address, without brackets.
        port: its TCP port.
        database: the number of the database.
        secure: whether it is reached over TLS.
        user: the name of the user; None for the default one.
        password: the password; None without one. It is in no text that is made of this value.
    """

    host: str
    port: int = PORT
    database: int = 0
    secure: bool = False
    user: str | None = None
    password: str | None = attrs.field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' * self.secure}://{host}:{self.port}/{self.database}"


def parse(text: str) -> StateUrl:
    """Read a URL such as `redis://:PASSWORD@HOST:PORT/DB`.

    User and password are percent-decoded. White space around the URL is left out, such as the end of a file's line.

    Raises:
        ValueError: the text is not such a URL; the message has nothing of it, as a password may be anywhere.
    """
    text = text.strip()
    if _BLANK.search(text):
        # Python's urlsplit would leave a line end out of a password.
        raise ValueError(f"spaces and control characters are percent-encoded: expected {FORM}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"expected {FORM}") from error
    plain = not parts.query and not parts.fragment and port != 0 and _DATABASE.fullmatch(parts.path) is not None
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname or not plain:
        raise ValueError(f"expected {FORM}")
    if parts.username and not parts.password:
        raise ValueError(f"a user needs a password: expected {FORM}")
    database = int(parts.path[1:] or 0)
    if database > MOST_DATABASE:
        raise ValueError(f"the number of the database is above {MOST_DATABASE}")
    try:
        user, password = (unquote(part, errors="strict") if part else None for part in (parts.username, parts.password))
    except UnicodeDecodeError:
        raise ValueError("the user and the password are percent-encoded in UTF-8") from None
    return StateUrl(parts.hostname, PORT if port is None else port, database, parts.scheme == "rediss", user, password)
