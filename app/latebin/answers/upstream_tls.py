"""TLS with an upstream: which certificates are trusted, and which is shown.

Twisted's own `optionsForClientTLS` puts the host through IDNA, which refuses names such as `a_b`.
"""

from typing import TYPE_CHECKING, Any, Final, cast

from OpenSSL import SSL
from service_identity.exceptions import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from latebin.core.http.networks import is_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from OpenSSL.crypto import X509

    from latebin.answers.upstream_connection import UpstreamConnection
    from latebin.core.http.upstream_url import Origin
    from latebin.core.settings import Settings

_ERRORS: Final = {
    9: "is not valid yet",
    10: "has expired",
    18: "is signed by itself",
    19: "is signed by an unknown authority",
    20: "is signed by an unknown authority",
    21: "is signed by an unknown authority",
}
"""The common results of `X509_verify_cert`, by their numbers in OpenSSL."""


@implementer(IOpenSSLClientConnectionCreator)
class UpstreamTLS:
    """The TLS of connections to one upstream.

    Args:
        origin: the upstream's server, whose name or address the certificate must have.
        context: the context of the connections.
        insecure: whether every certificate is accepted.
    """

    def __init__(self, origin: "Origin", context: SSL.Context, *, insecure: bool) -> None:
        self._context = context
        self._insecure = insecure
        self._host = origin.host.partition("%")[0].rstrip(".")
        self._is_address = is_address(self._host)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: ANN401  # Twisted's
        """Make the connection of a protocol."""
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(tlsProtocol)
        if not self._is_address:
            # RFC 6066, section 3: a name is sent, and an address is not.
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        if not self._insecure:
            flags = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
            connection.set_verify(flags, self._checks(tlsProtocol.wrappedProtocol))
        return connection

    def _checks(self, protocol: "UpstreamConnection") -> "Callable[[SSL.Connection, X509, int, int, int], bool]":
        def check(_: SSL.Connection, certificate: "X509", error: int, depth: int, ok: int) -> bool:
            if not ok:
                reason = _ERRORS.get(error, f"is refused by OpenSSL with error {error}")
                protocol.untrusted = f"its certificate {reason}"
            elif not depth and not self._names(certificate):
                protocol.untrusted = "its certificate is for another name"
            return not protocol.untrusted

        return check

    def _names(self, certificate: "X509") -> bool:
        """Return whether a certificate names the upstream."""
        try:
            wanted = IPAddress_ID(self._host) if self._is_address else DNS_ID(self._host)
            verify_service_identity(extract_patterns(certificate), [wanted], [])
        except (CertificateError, VerificationError, ValueError):
            return False
        return True


def context(settings: "Settings", name: str) -> SSL.Context:
    """Make the context of the connections to an upstream.

    Args:
        settings: the authorities that are trusted besides those of the system, and the client certificates.
        name: the upstream's name.

    Raises:
        ValueError: a file has no such certificate or key.
    """
    made = SSL.Context(SSL.TLS_CLIENT_METHOD)
    made.set_min_proto_version(SSL.TLS1_2_VERSION)
    made.set_mode(cast("Any", SSL).MODE_RELEASE_BUFFERS)
    made.set_default_verify_paths()
    if settings.upstream_ca is not None:
        try:
            made.load_verify_locations(settings.upstream_ca)
        except SSL.Error as error:
            raise ValueError(f"--upstream-ca {settings.upstream_ca}: it has no certificates in PEM format") from error
    file = settings.upstream_certs.get(name)
    if file is not None:
        try:
            made.use_certificate_chain_file(file)
            made.use_privatekey_file(file)
            made.check_privatekey()
        except SSL.Error as error:
            raise ValueError(
                f"--upstream-cert {name}={file}: it is not a certificate with its private key, both in PEM format"
            ) from error
    return made
