"""Logins with a cloud's identity: the clouds' own packages against small real servers on loopback."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from parts.canaries import secret
from parts.registry import (
    PLAIN,
    Behaviour,
    HostileServer,
    Received,
    Reply,
    always,
    json_reply,
    refusal,
    wait_until,
)
from parts.resolver import told_where

from automator.core.reference import Repository
from automator.edges.http import Trust
from automator.edges.registry import CloudLogin, Credential, RegistryClient
from automator.edges.registry.clouds import Cloud
from automator.edges.registry.credentials import Secret

Serve = Callable[[Behaviour], HostileServer]
CANARY = secret("registry")
ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
GAR = "europe-docker.pkg.dev"


@pytest.fixture(autouse=True)
def no_identity_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))


# -- Amazon -------------------------------------------------------------------------------------------


def ecr_token(life: float = 12 * 3600, secret: str = CANARY) -> Reply:
    token = base64.b64encode(f"AWS:{secret}".encode()).decode()
    return json_reply({"authorizationData": [{"authorizationToken": token, "expiresAt": time.time() + life}]})


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, hostile: Serve) -> Serve:
    """Starts what AWS's package takes for AWS, and gives the process an identity there."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret("access-key"))

    def serve(behave: Behaviour) -> HostileServer:
        server = hostile(behave)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.host}")
        return server

    return serve


@pytest.mark.parametrize(
    ("host", "signed_for"),
    [
        (ECR, "/eu-west-1/ecr/"),
        ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "/us-gov-west-1/ecr/"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "/cn-north-1/ecr/"),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", "/eu-west-1/ecr/"),
        ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "/eusc-de-east-1/ecr/"),
        ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "/us-iso-east-1/ecr/"),
    ],
)
def test_ecr_is_asked_in_the_region_of_the_host(aws: Serve, host: str, signed_for: str) -> None:
    server = aws(always(ecr_token()))
    assert CloudLogin("aws").find(host, "acme/web") == Credential("AWS", CANARY)
    (asked,) = server.received
    assert asked.headers["x-amz-target"].endswith(".GetAuthorizationToken")
    assert signed_for in asked.headers["authorization"]


def test_public_ecr_is_asked_in_its_one_region(aws: Serve) -> None:
    token = base64.b64encode(f"AWS:{CANARY}".encode()).decode()
    server = aws(always(json_reply({"authorizationData": {"authorizationToken": token}})))
    assert CloudLogin("aws").find("public.ecr.aws") == Credential("AWS", CANARY)
    assert "/us-east-1/ecr-public/" in server.received[0].headers["authorization"]


@pytest.mark.parametrize(
    ("cloud", "host"),
    [
        ("aws", "ghcr.io"),
        ("aws", f"{ECR}.evil.test"),
        ("aws", "12345.dkr.ecr.eu-west-1.amazonaws.com"),
        ("google", "pkg.dev.evil.test"),
        ("google", "notgcr.io"),
        ("google", "ghcr.io"),
        ("azure", "azurecr.io"),
        ("azure", "acme.azurecr.io.evil.test"),
        ("azure", "notazurecr.io"),
        ("azure", "registry.example.com"),
    ],
)
def test_a_login_is_for_the_clouds_own_hosts_only(cloud: Cloud, host: str) -> None:
    error = refusal(lambda: CloudLogin(cloud).find(host))
    assert error.reason.code == "credentials/cloud-host"
    assert host in str(error)
    assert not error.retry


def test_a_token_is_kept_until_half_of_its_life_is_over(aws: Serve) -> None:
    server = aws(always(ecr_token(life=2 * 3600)))
    now = 0.0
    login = CloudLogin("aws", clock=lambda: now)
    for minutes, asked in ((0, 1), (30, 1), (59, 1), (61, 2), (119, 2)):
        now = minutes * 60.0
        for path in ("a", "b", "c"):
            login.find(ECR, path)
        assert len(server.received) == asked


def test_a_refused_token_is_renewed_unless_it_is_new(aws: Serve) -> None:
    server = aws(always(ecr_token()))
    careful, eager = CloudLogin("aws"), CloudLogin("aws", fresh_seconds=0)
    for login in (careful, eager):
        login.find(ECR)
        login.forget(ECR)
        login.find(ECR)
    assert len(server.received) == 1 + 2


def test_many_threads_share_one_login(aws: Serve) -> None:
    server = aws(always(ecr_token()))
    login, together = CloudLogin("aws"), threading.Barrier(8)

    def find(_: int) -> Credential | None:
        together.wait(20)
        return login.find(ECR)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(find, range(8))) == {Credential("AWS", CANARY)}
    assert len(server.received) == 1


def test_a_cloud_that_refuses_is_a_sentence_and_is_left_alone_for_a_while(aws: Serve) -> None:
    denied = {"__type": "AccessDeniedException", "message": "robot may not ecr:GetAuthorizationToken"}
    server = aws(always(json_reply(denied, 400)))
    now = 0.0
    login = CloudLogin("aws", clock=lambda: now)
    errors = [refusal(lambda: login.find(ECR)) for _ in range(3)]
    assert {e.reason.code for e in errors} == {"credentials/cloud"}
    assert all(e.retry for e in errors)
    assert "robot may not ecr:GetAuthorizationToken" in str(errors[0])
    assert len(server.received) == 1
    assert "none: the aws login" in login.describe(ECR)
    now = 31.0
    server.behave = always(ecr_token())
    assert login.find(ECR) == Credential("AWS", CANARY)


@pytest.mark.parametrize(
    "reply",
    [
        json_reply({"authorizationData": []}),
        json_reply({}),
        json_reply({"authorizationData": [{"authorizationToken": "%%%"}]}),
        json_reply({"authorizationData": [{"authorizationToken": base64.b64encode(b"nocolon").decode()}]}),
        Reply(200, b"<html>", {"Content-Type": "text/html"}),
    ],
)
def test_an_answer_without_a_token_is_an_error(aws: Serve, reply: Reply) -> None:
    aws(always(reply))
    error = refusal(lambda: CloudLogin("aws").find(ECR))
    assert error.reason.code == "credentials/cloud"
    assert "nocolon" not in str(error)


def test_a_cloud_that_is_silent_ends_in_time(aws: Serve) -> None:
    server = aws(always(Reply(silent=True)))
    error = refusal(lambda: CloudLogin("aws", seconds=0.3).find(ECR))
    assert error.reason.code == "credentials/cloud"
    assert len(server.received) <= 2


def test_no_identity_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    error = refusal(lambda: CloudLogin("aws").find(ECR))
    assert "Unable to locate credentials" in str(error)
    assert "identity of aws" in error.reason.next_step


@pytest.mark.parametrize(
    ("process", "words"),
    [
        ("/nonexistent/program", "/nonexistent/program: No such file or directory"),
        (f"/bin/echo {CANARY}", "JSONDecodeError"),
        ("/bin/echo []", "AttributeError"),
        (f"/bin/echo {{}} {CANARY}", "JSONDecodeError"),
    ],
    ids=range(4),
)
def test_a_program_that_knows_no_identity_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, process: str, words: str
) -> None:
    (tmp_path / "secret").write_text(f"[default]\ncredential_process = {process}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "secret"))
    login = CloudLogin("aws")
    error = refusal(lambda: login.find(ECR))
    assert error.reason.code == "credentials/cloud"
    assert words in str(error)
    assert CANARY not in "".join(traceback.format_exception(error))
    assert "none: the aws login" in login.describe(ECR)


def test_a_pod_whose_token_is_not_mounted_is_a_sentence_and_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = tmp_path / "not-there"
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(missing))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/robot")
    now = 0.0
    login = CloudLogin("aws", clock=lambda: now)
    first = refusal(lambda: login.find(ECR))
    assert first.reason.code == "credentials/cloud"
    assert f"{missing}: No such file" in str(first)
    assert first.retry
    missing.mkdir()  # another error from now on, once it is looked at again
    assert str(refusal(lambda: login.find(ECR))) == str(first)
    now = 31.0
    assert "Is a directory" in str(refusal(lambda: login.find(ECR)))


def test_nothing_secret_shows(aws: Serve) -> None:
    aws(always(ecr_token()))
    login = CloudLogin("aws")
    found = login.find(ECR)
    assert found is not None
    told = f"{login!r} {found!r} {login.describe(ECR)} {login.describe('other.test')}"
    assert CANARY not in told
    assert "aws login by boto3" in login.describe(ECR)


@pytest.mark.parametrize(
    ("cloud", "module", "package", "host"),
    [
        ("aws", "botocore.session", "boto3", ECR),
        ("azure", "azure.identity", "azure-identity", "acme.azurecr.io"),
        ("google", "google.auth", "google-auth", GAR),
    ],
)
def test_a_package_that_is_missing_is_a_sentence_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, cloud: Cloud, module: str, package: str, host: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as Python has it for what is not installed
    error = refusal(lambda: CloudLogin(cloud).find(host))
    assert error.reason.code == "credentials/cloud-extra"
    assert package in str(error)
    assert f"the extra `{cloud}`" in error.reason.next_step
    assert not error.retry


def test_the_clouds_packages_are_imported_when_they_are_used() -> None:
    code = (
        "import sys, automator.edges.registry\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('boto3', 'botocore', 'azure', 'docker')"
        " or m.startswith('google.auth')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# -- Google -------------------------------------------------------------------------------------------


@pytest.fixture
def service_account(monkeypatch: pytest.MonkeyPatch, hostile: Serve, tmp_path: Path) -> HostileServer:
    """Google's token service, and a service account of it as this process's identity."""
    server = hostile(always(json_reply({"access_token": CANARY, "expires_in": 3600, "token_type": "Bearer"})))
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "project_id": "acme",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "robot@acme.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"http://{server.host}/token",
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    return server


def test_a_service_account_gives_an_access_token(service_account: HostileServer) -> None:
    login = CloudLogin("google")
    for path in ("acme/web", "acme/api"):
        assert login.find(GAR, path) == Credential("oauth2accesstoken", CANARY)
    assert service_account.paths() == ["POST /token"]
    assert CANARY not in f"{login!r} {login.describe(GAR)}"
    assert login.find("eu.gcr.io") is not None


def test_a_google_that_is_silent_ends_in_time(service_account: HostileServer) -> None:
    service_account.behave = always(Reply(silent=True))
    error = refusal(lambda: CloudLogin("google", seconds=0.3).find(GAR))
    assert error.reason.code == "credentials/cloud"
    assert len(service_account.received) <= 3


def test_the_metadata_server_gives_an_access_token(hostile: Serve, tmp_path: Path) -> None:
    def metadata(asked: Received) -> Reply:
        assert asked.headers["metadata-flavor"] == "Google"
        flavor = {"Metadata_Flavor": "Google"}
        if asked.path.endswith("/token"):
            return json_reply({"access_token": CANARY, "expires_in": 1800}, **flavor)
        if asked.path.endswith("/project-id"):
            return Reply(200, b"acme", {"Metadata-Flavor": "Google", "Content-Type": "application/text"})
        return json_reply({"email": "robot@acme", "scopes": [], "aliases": ["default"]}, **flavor)

    server = hostile(metadata)
    # Google's package reads these variables when it is imported: a process of its own.
    code = (
        f"from automator.edges.registry import CloudLogin\nprint(CloudLogin('google').find('{GAR}').secret)"
    )
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "GCE_METADATA_HOST": server.host,
        "GCE_METADATA_IP": server.host,
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == f"{CANARY}\n", done.stderr


@pytest.mark.parametrize(
    "account", ["[]", f'{{"{CANARY}"', '{"type": "service_account"}', "\\"], ids=range(4)
)
def test_a_service_account_that_makes_no_sense_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, account: str
) -> None:
    (tmp_path / "secret").write_text(account)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "secret"))
    error = refusal(lambda: CloudLogin("google").find(GAR))
    assert error.reason.code == "credentials/cloud"
    assert CANARY not in "".join(traceback.format_exception(error))


def test_no_google_identity_is_a_sentence() -> None:
    error = refusal(lambda: CloudLogin("google").find(GAR))
    assert error.reason.code == "credentials/cloud"
    assert "credentials were not found" in str(error)


# -- Microsoft ----------------------------------------------------------------------------------------


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch, hostile: Serve) -> HostileServer:
    """A managed identity's endpoint, as an app service has it."""
    token = {"access_token": secret("directory"), "expires_on": str(int(time.time()) + 3600), "resource": "x"}
    server = hostile(always(json_reply({**token, "token_type": "Bearer"})))
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://{server.host}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", secret("header"))
    return server


def stand_in(registry: HostileServer, ca_file: Path) -> CloudLogin:
    return CloudLogin("azure", trust=Trust(ca_file=str(ca_file)), azure_hosts={registry.host})


def test_the_directorys_token_goes_to_no_other_registry(
    directory: HostileServer, secure: Serve, ca_file: Path
) -> None:
    registry = secure(always(json_reply({"refresh_token": CANARY})))
    login = CloudLogin("azure", trust=Trust(ca_file=str(ca_file)))
    assert refusal(lambda: login.find(registry.host)).reason.code == "credentials/cloud-host"
    assert registry.received == directory.received == []


def test_the_directorys_token_does_not_go_to_this_machine(
    directory: HostileServer, secure: Serve, ca_file: Path
) -> None:
    """A name that is Azure's by its spelling, and by the resolver's answer is not."""
    registry = secure(always(json_reply({"refresh_token": CANARY})))
    code = f"""
from automator.edges.http import Trust
from automator.edges.registry import CloudLogin
from automator.errors import RegistryError
try:
    CloudLogin("azure", trust=Trust(ca_file={str(ca_file)!r})).find("acme.azurecr.io")
except RegistryError as error:
    print(error)
"""
    told = told_where("acme.azurecr.io", registry.port, code)
    assert "127.0.0.1 may not be called" in told
    assert registry.received == []


def test_an_azure_identity_is_exchanged_for_the_registrys_refresh_token(
    directory: HostileServer, secure: Serve, ca_file: Path
) -> None:
    registry = secure(always(json_reply({"refresh_token": CANARY})))
    login = stand_in(registry, ca_file)
    for path in ("web", "api"):
        assert login.find(registry.host, path) == Credential(
            "00000000-0000-0000-0000-000000000000", CANARY, Secret.IDENTITY
        )
    (asked,) = registry.received
    assert (asked.method, asked.path) == ("POST", "/oauth2/exchange")
    form = {k: v[0] for k, v in parse_qs(asked.body.decode()).items()}
    assert form == {
        "grant_type": "access_token",
        "service": registry.host,
        "access_token": secret("directory"),
    }
    assert len(directory.received) == 1
    assert "canary" not in f"{login!r} {login.describe(registry.host)}"


def test_an_azure_login_opens_a_registry_with_a_token_service(
    directory: HostileServer, secure: Serve, ca_file: Path
) -> None:
    def registry(asked: Received) -> Reply:
        if asked.path == "/oauth2/exchange":
            return json_reply({"refresh_token": CANARY})
        if asked.path == "/oauth2/token":
            assert parse_qs(asked.body.decode())["refresh_token"] == [CANARY]
            return json_reply({"access_token": secret("access")})
        if asked.headers.get("authorization") == f"Bearer {secret('access')}":
            return json_reply({"tags": ["1.0.0"]})
        realm = f'Bearer realm="https://{server.host}/oauth2/token",service="{server.host}"'
        return json_reply({"errors": []}, 401, WWW_Authenticate=realm)

    server = secure(registry)
    login = stand_in(server, ca_file)
    settings = replace(PLAIN, insecure=False, ca_file=str(ca_file), credentials=login)
    client = RegistryClient({server.host: settings})
    repository = Repository(server.host, "acme/web")
    assert client.tags(repository, now=datetime(2026, 1, 1, tzinfo=UTC)).tags == ("1.0.0",)
    assert client.describe_credentials(repository) == (
        "azure login by azure-identity, exchanged for a refresh token; "
        f"for a token of https://{server.host}/oauth2/token"
    )
    client.close()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            json_reply({"errors": [{"code": "UNAUTHORIZED", "message": "no such tenant"}]}, 401),
            "no such tenant",
        ),
        (json_reply({"access_token": CANARY}), "without a refresh token"),
        (Reply(200, CANARY.encode()), "without a refresh token"),
        (Reply(302, b"", {"Location": "https://evil.test/"}), "HTTP 302"),
    ],
)
def test_an_exchange_that_fails_is_a_sentence_without_the_token(
    directory: HostileServer, secure: Serve, ca_file: Path, reply: Reply, words: str
) -> None:
    registry = secure(always(reply))
    error = refusal(lambda: stand_in(registry, ca_file).find(registry.host))
    assert error.reason.code == "credentials/cloud"
    assert words in str(error)
    assert "canary" not in f"{error!r} {error.reason}"


def test_the_directorys_token_goes_to_no_host_of_unknown_certificate(
    directory: HostileServer, secure: Serve
) -> None:
    registry = secure(always(json_reply({"refresh_token": CANARY})))
    error = refusal(lambda: CloudLogin("azure", azure_hosts={registry.host}).find(registry.host))
    assert "certificate" in str(error)
    assert registry.received == []


def test_a_directory_that_is_silent_ends_in_time(directory: HostileServer) -> None:
    directory.behave = always(Reply(silent=True))
    error = refusal(lambda: CloudLogin("azure", seconds=0.3).find("acme.azurecr.io"))
    assert error.reason.code == "credentials/cloud"
    wait_until(lambda: len(directory.received) <= 2, "few requests")
