"""Why a stream cannot be opened: OpenCV says only that it cannot."""

from __future__ import annotations

import base64
import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from typing import Protocol
from urllib.parse import unquote, urlsplit

_RTSP_PORT, _RTSPS_PORT = 554, 322

_REASONS = {
    401: "it asks for a name and a password, or those given are wrong",
    403: "it denies access",
    404: "it has nothing at this address",
    407: "a proxy on the way asks for a password",
}


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the password would go to another host."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Refuse the redirection."""


def why_not_opened(address: str, timeout_s: float) -> str:
    """Return why a stream cannot be opened, a clause without anything secret.

    Args:
        address: that begins with rtsp, rtsps, http or https.
        timeout_s: seconds within which it must answer.
    """
    try:
        status = _http_status(address, timeout_s) if address.lower().startswith("http") else None
        if status is None:
            status = _rtsp_status(address, timeout_s)
    except TimeoutError:
        return f"it does not answer within {timeout_s:g} s"
    except ConnectionRefusedError:
        return "nothing listens there"
    except socket.gaierror:
        return "there is no such host"
    except (OSError, ValueError, http.client.HTTPException):
        return "it cannot be reached"
    if status < 400:
        return "what it sends is no video that OpenCV reads"
    return _REASONS.get(status, f"it answers with the status {status}")


def _credentials(address: str) -> tuple[str, str]:
    """Return an address without name and password, and the header of basic authentication for them."""
    scheme, _, rest = address.partition("://")
    secret, at, host = rest.rpartition("@")
    if not at:
        return address, ""
    name, _, password = secret.partition(":")
    pair = f"{unquote(name)}:{unquote(password)}".encode()
    return f"{scheme}://{host}", f"Basic {base64.b64encode(pair).decode()}"


def _http_status(address: str, timeout_s: float) -> int:
    bare, credentials = _credentials(address)
    request = urllib.request.Request(bare, headers={"Authorization": credentials} if credentials else {})
    opener = urllib.request.build_opener(_NoRedirection)
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except urllib.error.URLError as error:
        if isinstance(error.reason, OSError):
            raise error.reason from None
        raise OSError(str(error.reason)) from None


def _rtsp_status(address: str, timeout_s: float) -> int:
    """Return the status of an answer to DESCRIBE (RFC 2326, section 10.2)."""
    bare, credentials = _credentials(address)
    parts = urlsplit(bare)
    is_safe = parts.scheme.lower() == "rtsps"
    place = (parts.hostname or "", parts.port or (_RTSPS_PORT if is_safe else _RTSP_PORT))
    header = f"Authorization: {credentials}\r\n" if credentials else ""
    with socket.create_connection(place, timeout_s) as plain:
        context = ssl.create_default_context() if is_safe else None
        connection = context.wrap_socket(plain, server_hostname=place[0]) if context else plain
        with connection.makefile("rwb") as file:
            return _ask(file, f"DESCRIBE {bare} RTSP/1.0\r\nCSeq: 1\r\n{header}\r\n")


class _Connection(Protocol):
    def write(self, content: bytes, /) -> int: ...
    def flush(self) -> None: ...
    def readline(self, size: int, /) -> bytes: ...


def _ask(file: _Connection, request: str) -> int:
    file.write(request.encode("utf-8", "replace"))
    file.flush()
    answer = file.readline(200)
    match = re.match(rb"RTSP/\d\.\d (\d{3})", answer)
    if match is None:
        raise OSError("no answer of RTSP")
    return int(match[1])
