"""The references of an upstream to itself, mapped to where a client sees them."""

import re
from typing import Final

import attrs

from latebin.core.http.upstream_url import Origin

_ABSOLUTE: Final = re.compile(rb"(?i)(?:(https?):)?//([^/?#]*)(.*)", re.DOTALL)

_LINK: Final = re.compile(rb"<([^<>]*)>")
"""A target in a `Link` header (RFC 8288, section 3)."""

_REFRESH: Final = re.compile(rb"(?i)^(\s*[0-9.]*\s*[;,]\s*(?:url\s*=\s*)?)(['\"]?)(.*?)(['\"]?\s*)$", re.DOTALL)

_MAX_REFRESH: Final = 4096
"""Bytes of the longest `Refresh` that is looked into: the time for it grows faster than its length."""

_PORTS: Final = {b"http": b"80", b"https": b"443"}


@attrs.frozen
class Links:
    """The mapping of references of an upstream to the paths of its client.

    Attributes:
        origin: the upstream's origin.
        base: the path of the upstream's URL, without a slash at its end.
        mount: the path under which the client sees that base, without a slash at its end; empty for the root.
        host: the `Host` that the upstream was sent, if that is the client's; empty otherwise.
    """

    origin: Origin
    base: bytes
    mount: bytes
    host: bytes = b""

    def header(self, name: bytes, value: bytes) -> bytes:
        """Map the references in a header of a response."""
        mapped = _HEADERS.get(name.lower())
        return value if mapped is None else mapped(self, value)

    def reference(self, value: bytes) -> bytes:
        """Map a URI reference (RFC 9110, section 10.2.2).

        An absolute one with the upstream's own authority, and an absolute path, become paths below the mount. An
        absolute path outside of the upstream's base becomes a URL of the upstream, since it is not reached through
        here. All others are left alone: those of other servers, and relative ones.
        """
        absolute = _ABSOLUTE.fullmatch(value)
        if absolute is None:
            if not value.startswith(b"/"):
                return value
            return self._mapped(value) or self.origin.url + value
        scheme, authority, path = absolute.groups()
        if not self._own(scheme, authority):
            return value
        return self._mapped(path if path.startswith(b"/") else b"/" + path) or value

    def cookie(self, value: bytes) -> bytes:
        """Map the `Path` of a cookie, and drop the upstream's own `Domain`.

        RFC 6265, section 4.1.2, has the attributes.
        """
        pair, *attributes = value.split(b";")
        kept = [pair]
        for attribute in attributes:
            name, equals, given = attribute.partition(b"=")
            if name.strip().lower() == b"path" and not pair.lstrip().lower().startswith(b"__host-"):
                kept.append(name + equals + self._cookie_path(given.strip()))
            elif name.strip().lower() != b"domain" or not self._own_domain(given.strip()):
                kept.append(attribute)
        return b";".join(kept)

    def links(self, value: bytes) -> bytes:
        """Map the targets of a `Link` header."""
        return _LINK.sub(lambda found: b"<" + self.reference(found[1]) + b">", value)

    def refresh(self, value: bytes) -> bytes:
        """Map the URL of a `Refresh` header, which browsers follow as the HTML standard says."""
        found = _REFRESH.match(value) if len(value) <= _MAX_REFRESH else None
        return value if found is None else found[1] + found[2] + self.reference(found[3]) + found[4]

    def _mapped(self, path: bytes) -> bytes:
        """Return the client's path of a path at the upstream; empty outside of its base."""
        end = len(self.base)
        if not path.startswith(self.base) or path[end : end + 1] not in (b"/", b"?", b"#", b""):
            return b""
        behind = path[end:] if path[end:].startswith(b"/") else b"/" + path[end:]
        # A path that begins with two slashes would name another server.
        return self.mount + (b"/." if behind.startswith(b"//") and not self.mount else b"") + behind

    def _cookie_path(self, path: bytes) -> bytes:
        if not path.startswith(b"/"):
            return path
        # A cookie of a path above the base is sent to all of the base.
        above = path if path.endswith(b"/") else path + b"/"
        return self._mapped(path) or (self.mount + b"/" if (self.base + b"/").startswith(above) else path)

    def _own(self, scheme: bytes | None, authority: bytes) -> bool:
        scheme = (scheme or self.origin.scheme).lower()
        if self.host and authority.lower() == self.host.lower():
            return True
        return scheme == self.origin.scheme and _with_port(authority, scheme) == _with_port(
            self.origin.authority, scheme
        )

    def _own_domain(self, domain: bytes) -> bool:
        domain, host = domain.lower().lstrip(b"."), self.origin.host.lower().rstrip(".").encode("ascii")
        return bool(domain) and (host == domain or host.endswith(b"." + domain))


def _with_port(authority: bytes, scheme: bytes) -> bytes:
    host, colon, port = authority.lower().rpartition(b":")
    if not colon or port.endswith(b"]"):
        host, port = authority.lower(), b""
    return host + b":" + (port or _PORTS.get(scheme, b""))


_HEADERS: Final = {
    b"content-location": Links.reference,
    b"link": Links.links,
    b"location": Links.reference,
    b"refresh": Links.refresh,
    b"set-cookie": Links.cookie,
}
"""The headers of a response that name places of the upstream."""
