"""Which addresses files may be downloaded from, and how much of an address is shown."""

from __future__ import annotations

import http.client
import ipaddress
import socket
from base64 import b64encode
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
    build_opener,
)

from leam.errors import WeightsError, printable

ALLOW_LOCAL_VARIABLE = "LEAM_ALLOW_LOCAL"
"""The environment variable that ``--allow-local`` sets."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def shown(url: str) -> str:
    """An address without what may be secret: name, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the address"
    host = parts.netloc.rpartition("@")[2]
    secret = "?..." if parts.query or parts.fragment else ""
    return printable(urlunsplit((parts.scheme, host, parts.path, "", ""))) + secret


def check_address(url: str, *, hashed: bool) -> None:
    """Refuse an address that is not https; http is allowed if the file has a checksum.

    Raises:
        WeightsError: The address is not allowed.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # ValueError if it is no number
        scheme = parts.scheme if parts.hostname else ""
    except ValueError:
        scheme = ""
    if scheme == "http" and not hashed:
        raise WeightsError(
            f"{shown(url)}: not an https address; http needs the file's sha256 in the card"
        )
    if scheme not in {"https", "http"}:
        raise WeightsError(f"{shown(url)}: not an https address")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the internet, not to a private network, this machine or a special use."""
    found: _Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inside = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inside = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if found.teredo or (inside is not None and not is_public(str(inside))):
            return False
        if inside is not None:
            return True
    return found.is_global and not found.is_multicast


class Connections:
    """Opens addresses by the rules of :func:`check_address`, also where redirects lead.

    Args:
        local: Also connect to private addresses and this machine.
        hashed: Whether the file has a checksum.
    """

    def __init__(self, *, local: bool, hashed: bool) -> None:
        self._local, self._hashed = local, hashed
        self._socket: socket.socket | None = None
        self._was_cut = False

    def open(self, request: Request, timeout: float) -> Any:  # noqa: ANN401  as urllib does
        """The response to a request; errors as those of ``urllib.request.urlopen``."""
        parts = urlsplit(request.full_url)
        name, _, host = parts.netloc.rpartition("@")
        if name:
            request.full_url = urlunsplit(parts._replace(netloc=host))
            # Not sent to where a redirect leads.
            coded = b64encode(unquote(name).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {coded}")
        self._was_cut = False
        response = self._opener().open(request, timeout=timeout)
        if self._was_cut:
            # Headers that end early are taken for complete ones.
            response.close()
            raise TimeoutError("the server does not answer")
        return response

    def cut(self) -> None:
        """End the connection, from another thread."""
        self._was_cut = True
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _opener(self) -> OpenerDirector:
        outer = self

        class Redirects(HTTPRedirectHandler):
            def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:  # noqa: ANN401, E501  # fmt: skip
                try:
                    check_address(urljoin(req.full_url, newurl), hashed=outer._hashed)
                except WeightsError:
                    fp.close()
                    raise
                return super().redirect_request(req, fp, code, msg, headers, newurl)

        class Plain(HTTPHandler):
            def http_open(self, req: Request) -> http.client.HTTPResponse:
                return self.do_open(outer._connection(http.client.HTTPConnection, req), req)

        class Secure(HTTPSHandler):
            def https_open(self, req: Request) -> http.client.HTTPResponse:
                return self.do_open(outer._connection(http.client.HTTPSConnection, req), req)

        return build_opener(Redirects, Plain, Secure)

    def _connection(self, kind: Any, request: Request) -> Any:  # noqa: ANN401  classes of http.client
        asked = urlsplit(request.full_url)
        # A proxy connects by itself. It is the user's choice, and may be on this machine.
        by_proxy = request.host != asked.netloc

        def create(host: str, **options: Any) -> http.client.HTTPConnection:  # noqa: ANN401
            connection: http.client.HTTPConnection = kind(host, **options)
            if by_proxy:
                self._refuse_local_number(asked.hostname or "")
            else:
                connection._create_connection = self._connect  # type: ignore[attr-defined]  # noqa: SLF001
            return connection

        return create

    def _refuse_local_number(self, host: str) -> None:
        """Refuse a local address that is written as a number, in any of the forms that systems accept."""
        try:
            number = socket.inet_ntoa(socket.inet_aton(host))
        except OSError:
            number = host
        try:
            self._check(number, host)
        except ValueError:
            return

    def _check(self, address: str, host: str) -> None:
        if not self._local and not is_public(address):
            number = "" if host == address else f" ({address})"
            raise WeightsError(
                f"{host}{number} is a private address, or this machine; add --allow-local if you trust it"
            )

    def _connect(
        self, place: tuple[str, int], timeout: float, source: tuple[str, int] | None = None
    ) -> socket.socket:
        """Connect to an address that was checked, so that a second look-up of the name cannot give another one."""
        host, port = place
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for *_, where in found:
            self._check(str(where[0]), host)
        error: OSError | None = None
        for *_, where in found:
            try:
                self._socket = socket.create_connection((str(where[0]), port), timeout, source)
            except OSError as failure:
                error = failure
            else:
                return self._socket
        raise error or OSError("no address")
