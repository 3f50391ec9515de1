"""The tables [runtimes.NAME]: what they may say, and how a wrong one is told."""

from datetime import timedelta
from pathlib import Path

import pytest

from automator.config import load
from automator.errors import ConfigError

SHOP = '[repos.shop]\nurl = "https://git.example.com/shop.git"\n'


def written(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text)
    return file


def test_a_cluster_and_an_engine_take_one_line_each(tmp_path: Path) -> None:
    text = (
        SHOP + '[runtimes.prod]\ntype = "kubernetes"\nkubeconfig = "kube"\n[runtimes.host]\ntype = "docker"\n'
    )
    config = load(written(tmp_path, text), {})
    cluster, engine = config.runtimes["prod"], config.runtimes["host"]
    assert (config.repo_of("prod"), config.repo_of("host")) == ("shop", "shop")
    assert (cluster.kubeconfig, cluster.status) == (tmp_path / "kube", ("flux", "argocd"))
    assert engine.host == "unix:///var/run/docker.sock"
    assert (engine.interval, engine.grace) == (timedelta(minutes=1), timedelta(minutes=15))


def test_the_environment_may_say_it_all(tmp_path: Path) -> None:
    named = "AUTOMATOR_RUNTIMES__PROD__"
    told = {"TYPE": "kubernetes", "NAMESPACES": "shop, jobs", "PATHS": '["a/**"]', "STATUS": "flux"}
    prod = load(written(tmp_path, SHOP), {named + key: value for key, value in told.items()}).runtimes["prod"]
    assert (prod.namespaces, prod.paths, prod.status) == (("shop", "jobs"), ("a/**",), ("flux",))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("[runtimes.x]", "this key: What it is"),
        ('[runtimes.x]\ntype = "nomad"', "'docker'"),
        ('[runtimes.X]\ntype = "docker"', "a name of lower-case letters"),
        ('[runtimes.x]\ntype = "docker"\nrepo = "stage"', "a config repo of [repos] for runtimes.x.repo"),
        ('[runtimes.x]\ntype = "docker"\nhost = "ssh://me@there"', "ssh is not spoken here"),
        ('[runtimes.x]\ntype = "docker"\nhost = "there:2375"', "tcp://engine.example.com:2376"),
        ('[runtimes.x]\ntype = "docker"\nkubeconfig = "k"', "no kubeconfig for a runtime of type docker"),
        ('[runtimes.x]\ntype = "kubernetes"\nproject = "p"', "no project for a runtime of type kubernetes"),
        ('[runtimes.x]\ntype = "kubernetes"\nnamespaces = ["shop-*"]', "without globs"),
        ('[runtimes.x]\ntype = "kubernetes"\nstatus = ["helm"]', '"flux" and "argocd"'),
        ('[runtimes.x]\ntype = "docker"\nca_file = "ca"', "a tcp:// host beside ca_file"),
        ('[runtimes.x]\ntype = "docker"\nhost = "tcp://a:1"\nclient_cert_file = "c"', "a ca_file beside"),
        ('[runtimes.x]\ntype = "docker"\nclient_key_file = "k"', "a client_cert_file beside"),
        ('[runtimes.x]\ntype = "docker"\ngrace = "0s"', "longer than zero"),
    ],
)
def test_a_wrong_table_is_refused_with_what_was_expected(tmp_path: Path, table: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, f"{SHOP}{table}\n"), {})
    assert expected in refused.value.reason.sentence


def test_with_several_config_repos_a_runtime_says_which_one_is_its(tmp_path: Path) -> None:
    text = f'{SHOP}[repos.other]\nurl = "https://x/y"\n[runtimes.x]\ntype = "docker"\n'
    with pytest.raises(ConfigError, match=r"a repo for runtimes\.x, one of other, shop"):
        load(written(tmp_path, text), {})
    assert load(written(tmp_path, text + 'repo = "other"\n'), {}).repo_of("x") == "other"
