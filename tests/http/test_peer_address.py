"""Where a connection may lead: the address counts, not the name that stands for it."""

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds.servers.http_faults import endpoint_file, scripted_server
from worlds.servers.private_authority import make_authority

from adapters.endpoint.grants import NOTHING, NotGrantedError, typed_grants
from adapters.http.opening import open_endpoint
from adapters.http.peer_address import require_address

IMAGE = np.zeros((1, 4, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("vendor.example", "8.8.8.8"),
        ("vendor.example", "2001:4860:4860::8888"),
        ("vendor.example", "::ffff:8.8.8.8"),
        ("localhost", "127.0.0.1"),
        ("localhost", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("10.0.0.7", "10.0.0.7"),
        ("fd12::7", "fd12::7"),
    ],
)
def test_the_internet_and_what_the_address_spells_out_need_no_leave(
    host: str, address: str
) -> None:
    require_address(host, address, NOTHING)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "this machine"),
        ("127.8.8.8", "this machine"),
        ("0.0.0.0", "this machine"),
        ("::1", "this machine"),
        ("::ffff:127.0.0.1", "this machine"),
        ("64:ff9b::7f00:1", "this machine"),  # 127.0.0.1 in an IPv6-only network
        ("10.0.0.7", "a private address"),
        ("172.31.255.255", "a private address"),
        ("192.168.1.1", "a private address"),
        ("100.64.0.1", "a private address"),
        ("fd12::7", "a private address"),
    ],
)
def test_a_name_that_leads_into_a_private_network_needs_leave(address: str, kind: str) -> None:
    with pytest.raises(NotGrantedError, match=f"vendor.example, which is .*{kind}") as caught:
        require_address("vendor.example", address, NOTHING)
    assert [str(need.grant) for need in caught.value.needs] == ["address:vendor.example"]
    require_address("vendor.example", address, typed_grants(["address:vendor.example"]))


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.1.1",
        "fe80::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
    ],
)
@pytest.mark.parametrize("is_written", [True, False])
def test_what_hands_out_a_machines_credentials_needs_leave_by_its_address(
    address: str, is_written: bool
) -> None:
    host = address if is_written else "vendor.example"
    with pytest.raises(NotGrantedError, match=f"a connection to {address}"):
        # A name that may lead into the private network may not lead here for that.
        require_address(host, address, typed_grants(["address:vendor.example"]))
    require_address(host, address, typed_grants([f"address:{address}"]))


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fe80::1]/",
        "http://168.63.129.16/",
    ],
)
def test_a_file_that_spells_such_an_address_out_is_not_even_opened(
    tmp_path: Path, url: str
) -> None:
    path = endpoint_file(tmp_path, url)
    with pytest.raises(NotGrantedError, match="--allow address:"):
        open_endpoint(path)


def test_a_name_for_this_machine_gets_nothing_until_it_is_allowed(tmp_path: Path) -> None:
    with scripted_server() as server:
        # "127.1" is a name to a URL, and 127.0.0.1 to the system that looks it up.
        path = endpoint_file(tmp_path, f"http://127.1:{server.server_address[1]}/v1")
        endpoint = open_endpoint(path)
        with pytest.raises(NotGrantedError, match=r"127\.1, which is 127\.0\.0\.1 here"):
            endpoint.look_up()
        with pytest.raises(NotGrantedError, match=r"give --allow address:127\.1$"):
            endpoint.predict(IMAGE)
        endpoint.close()
        assert not server.received
        endpoint = open_endpoint(path, grants=typed_grants(["address:127.1"]))
        endpoint.look_up()
        assert endpoint.predict(IMAGE).labels.tolist() == [1]
        endpoint.close()


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_name_that_leads_elsewhere_when_it_matters_gets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_tls: bool
) -> None:
    looked_up: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, *arguments: Any, **options: Any) -> Any:
        """Answer as the owner of a name may: the internet first, this machine afterwards."""
        if host != "vendor.example":
            return real(host, *arguments, **options)
        looked_up.append(host)
        address = "8.8.8.8" if len(looked_up) == 1 else "127.0.0.1"
        return real(address, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    tls, _ = make_authority(tmp_path).server("vendor.example")
    with scripted_server(tls=tls if is_tls else None) as server:
        url = f"{server.scheme}://vendor.example:{server.server_address[1]}/v1"
        ca_bundle = tmp_path / "root.pem" if is_tls else None
        endpoint = open_endpoint(endpoint_file(tmp_path, url), ca_bundle=ca_bundle)
        endpoint.look_up()  # all is well
        with pytest.raises(NotGrantedError, match=r"vendor\.example, which is 127\.0\.0\.1"):
            endpoint.predict(IMAGE)
        endpoint.close()
        assert not server.received
        allowed = typed_grants(["address:vendor.example"])
        endpoint = open_endpoint(endpoint_file(tmp_path, url), ca_bundle=ca_bundle, grants=allowed)
        assert endpoint.predict(IMAGE).labels.tolist() == [1]
        endpoint.close()


def test_a_host_that_cannot_be_looked_up_is_left_to_the_first_request(tmp_path: Path) -> None:
    endpoint = open_endpoint(endpoint_file(tmp_path, "http://nobody.invalid/"))
    endpoint.look_up()
    endpoint.close()


def test_what_a_proxy_looks_up_is_the_proxys_business(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_server() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
        endpoint = open_endpoint(endpoint_file(tmp_path, "http://127.1/v1"))
        endpoint.look_up()
        assert endpoint.predict(IMAGE).labels.tolist() == [1]
        endpoint.close()
