"""Connections that remember the TLS certificate they were made with.

Read when a connection is made, because a server may close it before its answer is read. The
certificate was verified by then; it is noted down here, and an audit never fails for want of it.
"""

import contextlib
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPSConnection

from adapters.one_packet import OnePacket, OnePacketPool


class _Connection(OnePacket, HTTPSConnection):
    peer_certificate: bytes | None = None

    def connect(self) -> None:
        """Connect, and keep what the server showed."""
        super().connect()
        # An unusual TLS layer, such as one through a TLS proxy, may not tell.
        sock: Any = self.sock
        with contextlib.suppress(AttributeError, ValueError, OSError):
            self.peer_certificate = sock.getpeercert(binary_form=True)


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


class RememberingAdapter(HTTPAdapter):
    """Requests' adapter over such connections, direct and through proxies."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the direct pools remember."""
        super().init_poolmanager(*args, **options)
        _remember(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Make a proxy's pools remember."""
        manager = super().proxy_manager_for(proxy, **options)
        _remember(manager)
        return manager


def peer_certificate(response: BaseHTTPResponse) -> bytes | None:
    """Return the server's certificate (DER) of an answer whose body was not read yet, if any."""
    certificate = getattr(getattr(response, "connection", None), "peer_certificate", None)
    return certificate if isinstance(certificate, bytes) else None


def _remember(manager: Any) -> None:
    manager.pool_classes_by_scheme = {"http": OnePacketPool, "https": _Pool}
