"""TLS to registries, with real nginx: private authorities, client certificates, files that change."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from parts.certificates import Authority, make_ca
from parts.nginx import Nginx, behind
from parts.registry import PLAIN, DockerRegistry, push_image, refusal
from parts.registry import unique_name as unique

from automator.core.reference import Repository
from automator.edges.registry import HostSettings, RegistryClient

pytestmark = pytest.mark.needs("nginx-light")

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
STRICT = replace(PLAIN, insecure=False)
LISTS = 'return 200 \'{"tags": ["1.0.0"]}\';'
WHO_CALLS = 'return 200 \'{"tags": ["$ssl_client_verify"]}\';'

Serve = Callable[..., Nginx]
MakeClient = Callable[..., RegistryClient]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_ca(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts nginx; what it is given goes to `Nginx`."""
    with ExitStack() as stack:
        count = iter(range(100))
        yield lambda *given, **named: stack.enter_context(
            Nginx(tmp_path / f"nginx{next(count)}", *given, **named)
        )


def tags(client: RegistryClient, host: str) -> tuple[str, ...]:
    return client.tags(Repository(host, "a/b"), now=NOW).tags


def trusting(authority: Authority, **rest: Any) -> HostSettings:
    return replace(STRICT, ca_file=str(authority.ca_file), **rest)


# -- whom we trust ----------------------------------------------------------------------------------


@pytest.mark.needs("docker-registry", "skopeo")
def test_a_registry_behind_nginx_with_a_private_authority(
    serve: Serve, authority: Authority, make_client: MakeClient, tmp_path: Path
) -> None:
    with DockerRegistry(tmp_path / "registry") as registry:
        name = unique()
        digest = push_image(registry.host, name, "1.4.2", created=NOW)
        nginx = serve(behind(registry.host), certificate=authority.issue(["127.0.0.1"]))
        repository = Repository(nginx.host, name)
        client = make_client(nginx.host, settings=trusting(authority))

        assert client.tags(repository, now=NOW).tags == ("1.4.2",)
        image = client.image(repository, "1.4.2")
        assert (image.digest, image.built) == (digest, NOW)

        error = refusal(lambda: tags(make_client(nginx.host, settings=STRICT), nginx.host))
        assert error.reason.code == "registry/tls"
        assert "ca_file" in error.reason.next_step


def test_each_trouble_with_a_certificate_has_its_own_code(
    serve: Serve, authority: Authority, make_client: MakeClient
) -> None:
    expired = serve(LISTS, certificate=authority.issue(["127.0.0.1"], days=-2))
    renamed = serve(LISTS, certificate=authority.issue(["registry.test", "10.1.2.3"]))
    plain = serve(LISTS)
    hosts = (expired.host, renamed.host, renamed.called("localhost"), plain.host)
    client = make_client(*hosts, settings=trusting(authority))
    errors = [refusal(partial(tags, client, host)) for host in hosts]
    assert [e.reason.code for e in errors] == [
        "registry/tls-expired",
        "registry/tls-name",
        "registry/tls-name",
        "registry/no-tls",
    ]
    assert "has expired" in str(errors[0])
    assert not any(e.retry for e in errors)
    assert [*expired.requests(), *renamed.requests()] == []


def test_plain_http_to_a_tls_port_says_so(
    serve: Serve, authority: Authority, make_client: MakeClient
) -> None:
    nginx = serve(LISTS, certificate=authority.issue(["127.0.0.1"]))
    error = refusal(lambda: tags(make_client(nginx.host), nginx.host))
    assert error.reason.code == "registry/tls-wanted"


def test_without_verification_only_the_host_itself_and_its_token_service_go_unchecked(
    serve: Serve, authority: Authority, make_client: MakeClient
) -> None:
    certificate = authority.issue(["registry.test"])
    unchecked = replace(STRICT, verify_tls=False)
    elsewhere = serve(LISTS, certificate=certificate)
    own = serve(LISTS, certificate=certificate)
    redirecting = serve(f"return 307 https://{elsewhere.host}/v2/a/b/tags/list;", certificate=certificate)
    client = RegistryClient({own.host: unchecked, redirecting.host: unchecked, elsewhere.host: STRICT})
    assert tags(client, own.host) == ("1.0.0",)
    error = refusal(lambda: tags(client, redirecting.host))
    assert error.reason.code == "registry/tls"
    assert elsewhere.requests() == []
    client.close()


def test_a_token_service_with_another_certificate_is_covered_by_verify_tls(
    serve: Serve, authority: Authority
) -> None:
    certificate = authority.issue(["registry.test"])
    tokens = serve('return 200 \'{"token": "t1"}\';', certificate=certificate)
    challenge = f'Bearer realm="https://{tokens.called("127.0.0.2")}/token",service="x"'
    registry = serve(
        f"add_header WWW-Authenticate '{challenge}' always; "
        "if ($http_authorization != 'Bearer t1') { return 401; } " + LISTS,
        certificate=certificate,
    )
    # The token service is on loopback: it is declared, and checked where it is called for itself.
    settings = replace(STRICT, verify_tls=False)
    client = RegistryClient({registry.host: settings, "unrelated.test": STRICT})
    error = refusal(lambda: tags(client, registry.host))
    assert error.reason.code == "registry/address-refused"
    client.close()

    challenge = challenge.replace("127.0.0.2", "127.0.0.1")
    registry = serve(
        f"add_header WWW-Authenticate '{challenge}' always; "
        "if ($http_authorization != 'Bearer t1') { return 401; } " + LISTS,
        certificate=certificate,
    )
    client = RegistryClient({registry.host: settings})
    assert tags(client, registry.host) == ("1.0.0",)
    client.close()


def test_a_ca_file_that_is_replaced_counts_from_then_on(
    serve: Serve, authority: Authority, make_client: MakeClient, tmp_path: Path
) -> None:
    nginx = serve(LISTS, certificate=authority.issue(["127.0.0.1"]))
    ca_file = tmp_path / "trusted.pem"
    shutil.copy(make_ca(tmp_path / "other").ca_file, ca_file)
    client = make_client(nginx.host, settings=replace(STRICT, ca_file=str(ca_file)))
    assert refusal(lambda: tags(client, nginx.host)).reason.code == "registry/tls"

    shutil.copy(authority.ca_file, tmp_path / "new")
    (tmp_path / "new").replace(ca_file)
    assert tags(client, nginx.host) == ("1.0.0",)

    ca_file.write_text("gone mouldy")
    error = refusal(lambda: tags(client, nginx.host))
    assert error.reason.code == "registry/tls-files"
    assert f"ca_file {ca_file}: it holds no certificate in PEM" in str(error)


def test_a_ca_file_that_is_replaced_counts_for_a_second_way_to_the_same_place_too(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    nginx = serve(LISTS, certificate=authority.issue(["127.0.0.1"]))
    ca_file = tmp_path / "trusted.pem"
    shutil.copy(make_ca(tmp_path / "other").ca_file, ca_file)
    settings = replace(STRICT, ca_file=str(ca_file))
    client = RegistryClient({nginx.host: settings, "mirrored.test": replace(settings, address=nginx.host)})
    assert refusal(lambda: tags(client, nginx.host)).reason.code == "registry/tls"

    shutil.copy(authority.ca_file, tmp_path / "new")
    (tmp_path / "new").replace(ca_file)
    assert tags(client, "mirrored.test") == ("1.0.0",)
    assert tags(client, nginx.host) == ("1.0.0",)
    assert tags(client, "mirrored.test") == ("1.0.0",)
    client.close()


# -- who we are -------------------------------------------------------------------------------------


def test_a_registry_that_asks_for_a_certificate_gets_ours(
    serve: Serve, authority: Authority, make_client: MakeClient
) -> None:
    nginx = serve(WHO_CALLS, certificate=authority.issue(["127.0.0.1"]), client_ca=authority.ca_file)
    ours = authority.issue(["automator"], client=True)
    error = refusal(lambda: tags(make_client(nginx.host, settings=trusting(authority)), nginx.host))
    assert error.reason.code == "registry/client-certificate"
    assert "client_cert_file" in error.reason.next_step
    for files in (
        {"client_cert_file": str(ours.cert_file), "client_key_file": str(ours.key_file)},
        {"client_cert_file": str(ours.both_file)},
    ):
        client = make_client(nginx.host, settings=trusting(authority, **files))
        assert tags(client, nginx.host) == ("SUCCESS",)


def test_our_certificate_is_shown_to_nobody_else(serve: Serve, authority: Authority) -> None:
    server = authority.issue(["127.0.0.1"])
    ours = authority.issue(["automator"], client=True)
    asking = {"certificate": server, "client_ca": authority.ca_file, "optional": True}
    elsewhere = serve(WHO_CALLS, **asking)
    registry = serve(f"return 307 https://{elsewhere.host}/v2/a/b/tags/list;", **asking)
    direct = serve(WHO_CALLS, **asking)
    shown = trusting(authority, client_cert_file=str(ours.both_file))
    client = RegistryClient({registry.host: shown, direct.host: shown, elsewhere.host: trusting(authority)})
    assert tags(client, direct.host) == ("SUCCESS",)
    assert tags(client, registry.host) == ("NONE",)
    client.close()


def test_a_client_certificate_that_is_replaced_counts_from_then_on(
    serve: Serve, authority: Authority, make_client: MakeClient, tmp_path: Path
) -> None:
    nginx = serve(WHO_CALLS, certificate=authority.issue(["127.0.0.1"]), client_ca=authority.ca_file)
    shown = tmp_path / "client.pem"
    shutil.copy(make_ca(tmp_path / "other").issue(["stranger"], client=True).both_file, shown)
    client = make_client(nginx.host, settings=trusting(authority, client_cert_file=str(shown)))
    assert refusal(lambda: tags(client, nginx.host)).reason.code == "registry/client-certificate"
    shutil.copy(authority.issue(["automator"], client=True).both_file, tmp_path / "new")
    (tmp_path / "new").replace(shown)
    assert tags(client, nginx.host) == ("SUCCESS",)


def test_a_client_certificate_that_cannot_be_used_is_named(
    authority: Authority, make_client: MakeClient, tmp_path: Path
) -> None:
    ours, other = (authority.issue(["automator"], client=True) for _ in range(2))
    locked = authority.issue(["automator"], client=True, password="a secret")
    (tmp_path / "empty").write_text("")
    cases = [
        (tmp_path / "missing", None, "No such file"),
        (ours.cert_file, tmp_path / "missing.key", "No such file"),
        (ours.cert_file, other.key_file, "not the one of the certificate"),
        (ours.cert_file, None, "no certificate and key"),
        (tmp_path / "empty", None, "no certificate and key"),
        (locked.both_file, None, "encrypted with a password"),
        (locked.cert_file, locked.key_file, "encrypted with a password"),
    ]
    for cert_file, key_file, words in cases:
        settings = replace(
            STRICT,
            client_cert_file=str(cert_file),
            client_key_file=None if key_file is None else str(key_file),
        )
        error = refusal(partial(tags, make_client("127.0.0.1:1", settings=settings), "127.0.0.1:1"))
        assert error.reason.code == "registry/tls-files"
        assert words in str(error), (cert_file, key_file)
        assert str(key_file or cert_file) in str(error)


# -- two kinds of addresses -------------------------------------------------------------------------


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@ipv6
def test_a_registry_at_an_ipv6_address(serve: Serve, authority: Authority, make_client: MakeClient) -> None:
    plain = serve(LISTS, address="::1")
    secure = serve(LISTS, address="::1", certificate=authority.issue(["::1"]))
    assert plain.host.startswith("[::1]:")
    assert tags(make_client(plain.host), plain.host) == ("1.0.0",)
    assert tags(make_client(secure.host, settings=trusting(authority)), secure.host) == ("1.0.0",)


def test_of_two_addresses_the_second_is_tried_while_there_is_time(
    serve: Serve, make_client: MakeClient
) -> None:
    """The first swallows what is sent to it: its queue of connections is full."""
    found = socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
    if {place[0] for *_, place in found} != {"::1", "127.0.0.1"}:
        pytest.skip("localhost does not have two addresses here")
    (family, *_, (first, *_)), (*_, (second, *_)) = found[:2]
    nginx = serve(LISTS, address=second)
    with ExitStack() as stack:
        silent = stack.enter_context(socket.socket(family))
        silent.bind((first, nginx.port))
        silent.listen(0)
        for _ in range(4):
            filling = stack.enter_context(socket.socket(family))
            filling.setblocking(False)
            filling.connect_ex((first, nginx.port))
        host = nginx.called("localhost")
        client = make_client(host, settings=replace(PLAIN, connect_timeout=0.6))
        assert tags(client, host) == ("1.0.0",)
