"""Which addresses a connection to an endpoint may have.

A name in a URL does not say where it leads, and whoever owns the name can change that at any time:
to this machine, into the private network behind it, or to the service that hands a machine of a
cloud its credentials. So it is the address of the connection itself that counts, before anything is
sent over it. An address that the URL spells out, such as ``http://10.0.0.7:8000``, hides nothing.
"""

import ipaddress
from typing import Final

from adapters.endpoint.grants import Grant, GrantKind, Grants, Need, require_granted

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

CREDENTIAL_SERVICES: Final = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",  # Amazon, Azure, Google, Oracle, DigitalOcean, OpenStack
            "fd00:ec2::254",  # Amazon
            "fd20:ce::254",  # Google
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure, a public address that only its own machines reach
            "192.0.0.192",  # Oracle
        ),
    )
)
"""What clouds tell their own machines, credentials included, by whoever documents it."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses as IPv6-only networks write them (RFC 6052)."""


def require_address(host: str, address: str, grants: Grants) -> None:
    """Pass if a connection to a host may have this address.

    Args:
        host: As the URL names it: a name, or an address.
        address: Of the connection.
        grants: What the user allows.

    Raises:
        NotGrantedError: It leads somewhere that the URL does not show, or that no URL should.
    """
    found = _plain(ipaddress.ip_address(address))
    kind = _kind(found)
    if found in CREDENTIAL_SERVICES or found.is_link_local:
        # Here it is the address that has to be allowed: a name that was allowed to lead into the
        # private network must not lead here tomorrow.
        name, use = str(found), f"{kind}" if host == address else f"{kind}, for {host}"
    elif kind is None or _is_shown(host, found):
        return
    else:
        name, use = host, f"which is {address} here, {kind}"
    require_granted([Need(grant=Grant(kind=GrantKind.ADDRESS, name=name), use=use)], grants)


def require_written_address(host: str, grants: Grants) -> None:
    """Pass unless a URL itself spells out an address that nobody should ask by mistake.

    Raises:
        NotGrantedError: It does.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return  # a name: the connection will tell
    require_address(host, host, grants)


def _is_shown(host: str, found: Address) -> bool:
    """Return whether the URL itself says that it leads there."""
    if host == "localhost":
        return found.is_loopback
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True  # a connection to an address leads nowhere else


def _kind(found: Address) -> str | None:
    """Say what is special about an address; None for one of the internet's."""
    if found in CREDENTIAL_SERVICES:
        return "where a cloud hands its machines their credentials"
    if found.is_link_local:
        return "a link-local address"
    if found.is_loopback or found.is_unspecified:
        return "this machine"
    return None if found.is_global else "a private address"


def _plain(found: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(found, ipaddress.IPv4Address):
        return found
    if found in _NAT64:
        return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found.ipv4_mapped or found.sixtofour or found
