"""`drift` as its users run it: a real config repo, an engine that answers, and one that does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from parts.engines import container, engine
from parts.kubeapi import ARGO, KubeApi
from parts.registry import HostileServer, Reply
from parts.world import World, deployment

POLICY = (
    "version: 1\ndefaults:\n  owner: team-shop\nworkloads:\n"
    "  web:\n    image: ghcr.io/acme/web\n    semver: 1.x\n"
    "  api:\n    image: ghcr.io/acme/api\n    semver: 1.x\n    owner: team-api\n"
    "  worker:\n    image: ghcr.io/acme/worker\n    semver: 1.x\n"
)


def compose(**tags: str) -> str:
    return "services:\n" + "".join(
        f"  {name}:\n    image: ghcr.io/acme/{name}:{tag}\n" for name, tag in tags.items()
    )


class Shop:
    """A config repo with a Compose file, and an engine that runs what it is told to."""

    def __init__(self, root: Path) -> None:
        self.world = World(root, "127.0.0.1:9")
        self.containers: list[dict] = []
        self.server = HostileServer(lambda asked: engine(self.containers)(asked))
        for tags in ({"web": "1.4.1", "api": "1.0.0"}, {"web": "1.4.2", "api": "1.0.0"}):
            files = {"compose.yaml": compose(**tags, worker="1.0.0"), "policies/shop.yaml": POLICY}
            self.world.repo.commit(files, "Ann sets it")
        self.configure()

    def configure(self, keys: str = "", host: str = "") -> None:
        host = host or f"tcp://{self.server.host}"
        self.world.configure(more=f'[runtimes.host]\ntype = "docker"\nhost = "{host}"\n{keys}\n')

    def runs(self, *, ago: timedelta = timedelta(0), **tags: str) -> None:
        """Containers of these images, which were started so long ago."""
        at = (datetime.now(UTC) - ago).isoformat()
        self.containers[:] = [
            container(f"shop-{name}-1", f"ghcr.io/acme/{name}:{tag}", service=name, StartedAt=at)
            for name, tag in tags.items()
        ]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    with made.server:
        yield made


def states(shop: Shop, *options: str, code: int = 0) -> dict[str, str]:
    done = shop.world.run("drift", "--output", "json", *options)
    assert (done.code, "Traceback" in done.err) == (code, False), done.err
    return {item["workload"]: item["state"] for item in done.json["items"]}


def test_drift_tells_what_is_the_same_what_is_not_deployed_yet_and_what_nobody_can_tell(shop: Shop) -> None:
    shop.runs(web="1.4.1", api="1.0.0")
    assert states(shop) == {"web": "pending", "api": "same", "worker": "unknown"}
    done = shop.world.run("drift").fine()
    first, *rest = done.out.splitlines()[1:]
    assert first.split()[:3] == ["web", "host", "pending"]  # the worst first
    assert "service /web" not in first
    assert "runs 1.4.1, Git says 1.4.2" in first
    assert [line.split()[0] for line in rest] == ["worker", "api"]
    assert done.err == ""


def test_past_the_grace_time_it_diverged_and_only_then_the_exit_code_says_so(shop: Shop) -> None:
    """No daemon has looked before: since when it differs is told by Git's history and the engine."""
    shop.runs(web="1.4.1", api="1.0.0", worker="1.0.0")
    assert states(shop, "--exit-code")["web"] == "pending"
    shop.runs(web="1.4.1", api="1.0.0", worker="1.0.0", ago=timedelta(hours=1))
    assert states(shop)["web"] == "diverged"
    assert states(shop, "--exit-code", code=1)["web"] == "diverged"
    assert states(shop, "--exit-code", "--workload", "api") == {"api": "same"}
    shop.configure('grace = "2h"')
    assert states(shop, "--exit-code")["web"] == "pending"


def test_a_version_that_git_never_said_is_told_as_such(shop: Shop) -> None:
    shop.runs(web="9.9.9", api="1.0.0", worker="1.0.0", ago=timedelta(hours=1))
    done = shop.world.run("drift", "--workload", "web").fine()
    assert "runs 9.9.9, which Git never said; it says 1.4.2 since 2025-06-15" in done.out


def test_filters_and_a_misspelt_name(shop: Shop) -> None:
    shop.runs(web="1.4.2", api="1.0.0", worker="1.0.0")
    assert states(shop, "--workload", "web") == {"web": "same"}
    assert states(shop, "--owner", "team-api") == {"api": "same"}
    assert states(shop, "--runtime", "host").keys() == {"web", "api", "worker"}
    misspelt = shop.world.run("drift", "--runtime", "hast")
    assert (misspelt.code, "did you mean host?" in misspelt.err) == (2, True)
    misspelt = shop.world.run("drift", "--workload", "wbe")
    assert (misspelt.code, "did you mean web?" in misspelt.err) == (2, True)


def test_an_engine_that_is_down_makes_unknown_and_the_exit_code_1(shop: Shop) -> None:
    shop.configure(host="tcp://127.0.0.1:9")
    done = shop.world.run("drift", "--output", "json")
    assert done.code == 1
    assert {item["state"] for item in done.json["items"]} == {"unknown"}
    assert done.json["runtimes"][0]["trouble"]["code"] == "engine/unreachable"
    assert "gives no answer: Connection refused" in done.err


def test_an_answer_that_is_none_is_no_traceback(shop: Shop) -> None:
    shop.server.behave = lambda _: Reply(200, b"[[[")
    assert set(states(shop, code=1).values()) == {"unknown"}


def test_without_a_runtime_it_says_how_to_name_one(shop: Shop) -> None:
    shop.world.configure()
    done = shop.world.run("drift")
    assert (done.code, "[runtimes.NAME]" in done.err) == (2, True)


def test_drift_changes_nothing_anywhere(shop: Shop) -> None:
    shop.runs(web="9.9.9", api="1.0.0", worker="1.0.0")
    before = (shop.world.repo.tip(), shop.world.repo.read("compose.yaml"))
    states(shop)
    assert (shop.world.repo.tip(), shop.world.repo.read("compose.yaml")) == before
    assert {one.method for one in shop.server.received} == {"GET"}


def test_a_cluster_by_its_kubeconfig_and_what_a_person_set_past_git(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    world = World(tmp_path / "world", "127.0.0.1:9")
    with KubeApi(tmp_path / "cluster") as api:
        world.adopt("web", "api", tag="1.0.0")
        old = datetime.now(UTC) - timedelta(hours=1)
        api.deploy("shop", "web", world.image("web", "6.6.6"), at=old)
        api.deploy("shop", "api", world.image("api", "1.0.0"), at=old)
        kubeconfig = api.kubeconfig()
        world.configure(more=f'[runtimes.prod]\ntype = "kubernetes"\nkubeconfig = "{kubeconfig}"\n')
        done = world.run("drift", "--output", "json", "--exit-code")
        assert done.code == 1, done.err
        told = {item["workload"]: item for item in done.json["items"]}
        assert {name: item["state"] for name, item in told.items()} == {"web": "diverged", "api": "same"}
        assert "Deployment shop/web [app] in prod runs 6.6.6" in told["web"]["reason"]["sentence"]
        assert {call.method for call in api.calls} == {"GET"}
        api.token_file.write_text("of-somebody-else")
        done = world.run("drift")
        assert (done.code, "of-somebody-else" in done.out + done.err) == (1, False)
        assert done.out.count("unknown") == 2


def test_the_namespace_of_a_kustomization_tells_whose_the_containers_are(tmp_path: Path) -> None:
    """Staging and production in one cluster: neither manifest says which; their Kustomizations do."""
    (tmp_path / "world").mkdir()
    world = World(tmp_path / "world", "127.0.0.1:9")
    old = datetime.now(UTC) - timedelta(hours=1)
    with KubeApi(tmp_path / "cluster") as api:
        files = {"policies/shop.yaml": "version: 1\nworkloads:\n"}
        for name, tag in (("staging", "1.5.0"), ("production", "1.4.2")):
            api.deploy(name, "web", world.image("web", tag), at=old)
            files[f"{name}/kustomization.yaml"] = f"namespace: {name}\nresources: [web.yaml]\n"
            files[f"{name}/web.yaml"] = deployment(world.image("web", tag)).replace("  namespace: shop\n", "")
            files["policies/shop.yaml"] += (
                f"  {name}:\n    image: {world.image('web')}\n    semver: '*'\n"
                f"    where: {{paths: ['{name}/**']}}\n"
            )
        world.repo.commit(files, "Ann sets it")
        kubeconfig = api.kubeconfig()
        world.configure(more=f'[runtimes.prod]\ntype = "kubernetes"\nkubeconfig = "{kubeconfig}"\n')

        def told() -> dict[str, tuple[str, str]]:
            items = world.run("drift", "--output", "json").fine().json["items"]
            return {item["workload"]: (item["state"], item["reason"]["sentence"]) for item in items}

        assert {name: state for name, (state, _) in told().items()} == {
            "staging": "same",
            "production": "same",
        }
        # What runs in staging is not what production's files say, and is not taken for it.
        api.deploy("production", "web", world.image("web", "1.5.0"), at=old)
        found = told()
        assert (found["staging"][0], found["production"][0]) == ("same", "diverged")
        assert "Deployment production/web [app] in prod runs 1.5.0" in found["production"][1]
        world.repo.commit({"production/kustomization.yaml": "resources: [web.yaml]\n"}, "Ann forgets it")
        assert told()["production"][0] == "unknown"


def test_the_destination_of_an_application_tells_whose_the_containers_are(tmp_path: Path) -> None:
    """One chart and two files of values, as Argo CD has them: nothing in Git but the Applications' own files,
    which may be elsewhere, says a namespace."""
    (tmp_path / "world").mkdir()
    world = World(tmp_path / "world", "127.0.0.1:9")
    old = datetime.now(UTC) - timedelta(hours=1)
    with KubeApi(tmp_path / "cluster") as api:
        api.served |= ARGO
        files = {"policies/shop.yaml": "version: 1\nworkloads:\n", "chart/Chart.yaml": "name: web\n"}
        for name, tag in (("staging", "1.5.0"), ("production", "1.4.2")):
            api.deploy(name, f"{name}-web", world.image("web", tag), at=old)
            files[f"env/{name}.yaml"] = f"image:\n  repository: {world.image('web')}\n  tag: {tag}\n"
            files["policies/shop.yaml"] += (
                f"  {name}:\n    image: {world.image('web')}\n    semver: '*'\n"
                f"    where: {{paths: ['env/{name}.yaml']}}\n"
            )
        world.repo.commit(files, "Ann sets it")
        kubeconfig = api.kubeconfig()
        world.configure(more=f'[runtimes.prod]\ntype = "kubernetes"\nkubeconfig = "{kubeconfig}"\n')

        def told() -> dict[str, str]:
            items = world.run("drift", "--output", "json").fine().json["items"]
            return {item["workload"]: item["state"] for item in items}

        assert told() == {"staging": "unknown", "production": "unknown"}  # either could be the other's
        for name in ("staging", "production"):
            api.put(
                {
                    "kind": "Application",
                    "metadata": {"name": name, "namespace": "argocd"},
                    "spec": {
                        "source": {
                            "repoURL": str(world.repo.path),
                            "path": "chart",
                            "helm": {"valueFiles": [f"../env/{name}.yaml"]},
                        },
                        "destination": {"server": "https://kubernetes.default.svc", "namespace": name},
                    },
                }
            )
        assert told() == {"staging": "same", "production": "same"}
        api.deploy("production", "production-web", world.image("web", "1.5.0"), at=old)
        assert told() == {"staging": "same", "production": "diverged"}


def test_what_an_application_puts_into_another_cluster_is_not_missing_in_its_own(tmp_path: Path) -> None:
    """A hub and a spoke: the Application stands here, what it applies runs there."""
    (tmp_path / "world").mkdir()
    world = World(tmp_path / "world", "127.0.0.1:9")
    with KubeApi(tmp_path / "cluster") as api:
        api.served |= ARGO
        policy = f"version: 1\nworkloads:\n  web: {{image: {world.image('web')}, semver: '*'}}\n"
        manifest = deployment(world.image("web", "1.4.2"))
        world.repo.commit({"policies/shop.yaml": policy, "apps/web.yaml": manifest}, "Ann sets it")
        kubeconfig = api.kubeconfig()
        world.configure(more=f'[runtimes.hub]\ntype = "kubernetes"\nkubeconfig = "{kubeconfig}"\n')

        def told(server: str) -> tuple[str, str]:
            source = {"repoURL": str(world.repo.path), "path": "apps"}
            api.put(
                {
                    "kind": "Application",
                    "metadata": {"name": "web", "namespace": "argocd"},
                    "spec": {"source": source, "destination": {"server": server, "namespace": "shop"}},
                }
            )
            (item,) = world.run("drift", "--output", "json").fine().json["items"]
            return item["state"], item["reason"]["code"]

        assert told("https://spoke.example:6443") == ("unknown", "drift/elsewhere")
        assert told("https://kubernetes.default.svc") == ("diverged", "drift/missing")
