"""What a cluster's objects say of how an image is: whose trouble it is, and what counts as ready."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from automator.core.running import Running
from automator.edges.kubernetes.controllers import read_running
from automator.edges.kubernetes.keeping import controller, replica_set
from automator.edges.kubernetes.pods import read_pod
from automator.edges.kubernetes.synchronizers import read_flux

NOW = datetime(2026, 11, 21, 15, 0, tzinfo=UTC)
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
WEB, PROXY = "ghcr.io/acme/web:1.4.3", "ghcr.io/acme/proxy:2"
DEADLINE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
QUOTA = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: team"}
NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
GATE = {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady"}
GAVE_UP = "the rollout exceeded its progress deadline"

Object = dict[str, Any]


def written(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def status(
    name: str = "app",
    *,
    ready: bool = True,
    waits: str = "",
    words: str = "",
    restarts: int = 0,
    up: timedelta = timedelta(hours=1),
    identity: str = "",
) -> Object:
    """What a pod says of a container that has run for `up`, or waits."""
    waiting = {"waiting": {"reason": waits, "message": words}}
    state = waiting if waits else {"running": {"startedAt": written(NOW - up)}}
    before = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": written(NOW - up)}}
    return {
        "name": name, "ready": ready and not waits, "state": state, "restartCount": restarts,
        "lastState": before if restarts else {}, "imageID": identity,
    }  # fmt: skip


def spec(images: Mapping[str, str]) -> Object:
    return {"containers": [{"name": name, "image": image} for name, image in images.items()]}


def pod(
    *statuses: Object,
    images: Mapping[str, str] | None = None,
    conditions: tuple[Object, ...] = (),
    kind: str = "ReplicaSet",
    is_going: bool = False,
) -> Object:
    named = images or {one["name"]: WEB if one["name"] == "app" else PROXY for one in statuses}
    owner = {"controller": True, "kind": kind, "name": "web", "uid": kind}
    metadata: Object = {"namespace": "shop", "name": "web-x", "ownerReferences": [owner]}
    if is_going:
        metadata["deletionTimestamp"] = written(NOW)
    told = {"containerStatuses": list(statuses), "conditions": list(conditions)}
    return {"metadata": metadata, "spec": spec(named), "status": told}


def deployment(
    *conditions: Object,
    images: Mapping[str, str] | None = None,
    observed: object = 1,
    status: Mapping[str, Any] | None = None,
    **more: Any,
) -> tuple[Object, Object]:
    """A Deployment, one of one replica, and its ReplicaSet."""
    template = {"spec": spec(images or {"app": WEB})}
    named = {"namespace": "shop", "name": "web"}
    owner = {"controller": True, "kind": "Deployment", "name": "web", "uid": "Deployment"}
    made = {
        "metadata": {**named, "uid": "ReplicaSet", "ownerReferences": [owner]},
        "spec": {"replicas": 1, "template": template},
    }
    told: Object = {"updatedReplicas": 1, "replicas": 1, "observedGeneration": observed}
    web = {
        "metadata": {**named, "uid": "Deployment", "generation": 1},
        "spec": {"replicas": 1, "template": template, **more},
        "status": {**told, "conditions": list(conditions), **(status or {})},
    }
    return web, made


def read_all(deployed: tuple[Object, Object], *pods: Object) -> tuple[Running, ...]:
    web, made = deployed
    objects = {"deployments": [controller(web)], "replicasets": [replica_set(made)]}
    return read_running(objects, [read_pod(one, NOW) for one in pods])


def read(deployed: tuple[Object, Object], *pods: Object) -> dict[str, Running]:
    """By container, what is told of the template's images."""
    return {one.container: one for one in read_all(deployed, *pods) if one.wanted == 1}


BOTH = {"app": WEB, "proxy": PROXY}


@pytest.mark.parametrize(
    ("own", "ready", "trouble"),
    [
        (status(), 1, None),
        (status(ready=False), 0, None),
        (status(restarts=40), 1, None),
        (status(restarts=1, up=timedelta(minutes=4)), 0, None),
        (status(restarts=1, up=timedelta(minutes=5)), 1, None),
        (
            status(restarts=3, up=timedelta(minutes=1), ready=False),
            0, "it was started again 3 times, the last time after Error, exit code 1",
        ),
        (status(restarts=3, up=timedelta(minutes=6), ready=False), 0, None),
        (status(restarts=3, up=timedelta(minutes=1)), 0, None),
        (status(restarts=1, up=timedelta(seconds=-30)), 0, None),
        (status(restarts=3, up=timedelta(minutes=-55)), 1, None),
        (status(restarts=3, up=timedelta(minutes=-55), ready=False), 0, None),
        (status(restarts=41, waits="CrashLoopBackOff"), 0, "CrashLoopBackOff"),
        (status(waits="InvalidImageName"), 0, "InvalidImageName"),
        (status(waits="ContainerCreating"), 0, None),
        ({**status(restarts=1), "state": {}, "lastState": {}}, 0, None),
    ],
)  # fmt: skip
def test_what_was_started_again_lately_is_not_ready_and_again_and_again_is_trouble(
    own: Object, ready: int, trouble: str | None
) -> None:
    web = read(deployment(), pod(own))["app"]
    assert (web.ready, web.trouble, web.hindrance, web.failed) == (ready, trouble, None, False)


REF = "ghcr.io/acme/web:1.4.3"
TRIED = f'rpc error: code = NotFound desc = failed to pull and unpack image "{REF}": '
BACK_OFF = f'Back-off pulling image "{REF}"'
NO_DISK = f"{TRIED}failed to extract layer: write /var/lib/containerd/x: no space left on device"
MIRRORS = f"(Mirrors also failed: [mirror.example/web:1.4.3: reading manifest: manifest unknown]): {REF}: "
NO_TAG = f'failed to resolve reference "{REF}": {REF}: not found'
NO_HOST = f'{MIRRORS}pinging container registry: Get "https://ghcr.io/v2/": dial tcp: no such host'
ARCHITECTURE = 'architecture "arm64", variant "v8", OS "linux"'
SHIM = "failed to create containerd task: failed to create shim task: "
RUNC = f"{SHIM}OCI runtime create failed: runc create failed: unable to start container process: "
INIT = f"{RUNC}error during container init: "
NO_LOG = f"{SHIM}OCI runtime create failed: unable to retrieve OCI runtime error (open /run/x/log.json): "
STARTS = [
    # The image's own program, by runc, crun and Docker
    (f'{RUNC}exec: "/app": stat /app: no such file or directory: unknown', True),
    (f'{INIT}exec: "serve": executable file not found in $PATH: unknown', True),
    (f'{INIT}exec: "/webhook": permission denied: unknown', True),
    (f"{INIT}exec /app: exec format error: unknown", True),
    ("container create failed: executable file `/app` not found: No such file or directory", True),
    (f"{SHIM}unable to find user www: no matching entries in passwd file: unknown", True),
    # The node's: its disk, mounts, processes, time
    (f'{INIT}error mounting "proc" to rootfs: mkdir /run/x/rootfs: no space left on device: unknown', False),
    (f'{INIT}error mounting "/x/conf/app/0" to rootfs at "/etc/app.conf": not a directory', False),
    (f"{SHIM}context deadline exceeded: unknown", False),
    (
        "failed to create containerd task: failed to start shim: start failed: fork/exec /usr/bin/shim: x",
        False,
    ),
    (f"{SHIM}fork/exec /proc/self/exe: exec format error: unknown", False),
    # … its hooks, and its runtime, in words that an image's program has too
    (f"{INIT}error running prestart hook #0: exit status 1, stderr: nvml error: unknown", False),
    (f'{INIT}error running prestart hook #0: exec: "nvidia-hook": executable file not found in $PATH', False),
    (f'{INIT}prestart hook 0: exec: "/usr/bin/x": permission denied', False),
    (f'{INIT}Running hook #1:: error running hook: exec: "/usr/bin/x": permission denied', False),
    (f'{INIT}error running createContainer hook #1: exec: "/usr/bin/nvidia-ctk": no such file', False),
    ("container create failed: error executing hook `/usr/bin/x`: open executable: Permission denied", False),
    (f'{NO_LOG}exec: "nvidia-container-runtime": executable file not found in $PATH: unknown', False),
    ('failed to create containerd task: failed to start shim: start failed: exec: "shim": not found', False),
    ("", False),
]
"""What is told of a container that cannot be started, and whether that is its image's own."""


@pytest.mark.parametrize(
    ("why", "words", "is_own"),
    [
        # containerd
        ("ErrImagePull", f"{TRIED}{NO_TAG}", True),
        ("ImagePullBackOff", f"{BACK_OFF}: ErrImagePull: {TRIED}{NO_TAG}", True),
        ("ErrImagePull", f"{TRIED}no match for platform in manifest: not found", True),
        ("ErrImagePull", NO_DISK, False),
        ("ImagePullBackOff", f"{BACK_OFF}: ErrImagePull: {NO_DISK}", False),
        ("ErrImagePull", f'{TRIED}failed to resolve reference "{REF}": 429 Too Many Requests', False),
        ("ErrImagePull", f'{TRIED}failed to resolve reference "{REF}": failed to authorize: 401', False),
        ("ErrImagePull", f"{TRIED}unexpected media type text/html for sha256:{'a' * 64}: not found", False),
        ("ErrImagePull", f"{TRIED}content digest sha256:{'a' * 64}: not found", False),
        # CRI-O
        ("ErrImagePull", "reading manifest 1.4.3 in ghcr.io/acme/web: manifest unknown", True),
        ("ErrImagePull", "reading manifest 1.4.3 in x/web: name unknown: repository not known", True),
        ("ErrImagePull", "reading manifest 1.4.3 in x/web: unauthorized: username unknown", False),
        ("ErrImagePull", "pinging container registry x: lookup x: hostname unknown", False),
        ("ErrImagePull", f"{MIRRORS}reading manifest 1.4.3 in ghcr.io/acme/web: manifest unknown", True),
        ("ErrImagePull", NO_HOST, False),
        ("ErrImagePull", f"choosing image instance: no image found in image index for {ARCHITECTURE}", True),
        # Docker
        ("ErrImagePull", f"manifest for {REF} not found: manifest unknown: manifest unknown", True),
        ("ErrImagePull", "no matching manifest for linux/arm64/v8 in the manifest list entries", True),
        ("ErrImagePull", "pull access denied for acme/web, repository does not exist or may require", False),
        # kubelet: before 1.32 it says no more than this between two tries
        ("ImagePullBackOff", BACK_OFF, False),
        ("ErrImagePull", "", False),
        ("RegistryUnavailable", "", False),
        ("SignatureValidationFailed", "Source image rejected", False),
        ("ErrImageNeverPull", f'Container image "{REF}" is not present with pull policy of Never', False),
        ("ImageInspectError", f'Failed to inspect image "{REF}": rpc error', False),
        ("CreateContainerConfigError", 'secret "web" not found', False),
        ("CreateContainerError", 'failed to reserve container name "app": is reserved for', False),
        ("CreateContainerError", "context deadline exceeded", False),
        ("CreateContainerError", "failed to generate spec: no command specified", True),
        ("CreateContainerError", r"runc create failed: exec: \"/app\": permission denied: unknown", True),
        ("CreateContainerError", "crun: executable file `app` not found in $PATH", True),
        *(("CreateContainerError", words, is_own) for words, is_own in STARTS),
        *(("RunContainerError", words, is_own) for words, is_own in STARTS),
    ],
)
def test_an_image_is_at_fault_only_where_that_is_said(why: str, words: str, is_own: bool) -> None:
    web = read(deployment(), pod(status(waits=why, words=words)))["app"]
    told = web.trouble if is_own else web.hindrance
    assert (told or "").startswith(f"{why}: {words[:60]}" if words else why)
    assert (web.hindrance if is_own else web.trouble) is None
    late = read(deployment(DEADLINE), pod(status(waits=why, words=words)))["app"]
    assert late.failed is is_own, "a rollout that is out of time is so for a cause"


def never_ran(words: str, *, reason: str = "StartError", restarts: int = 5, waits: str = "") -> Object:
    """What a pod says of a container that has never run, however often it was started; between two tries, or
    started once more a minute ago."""
    own = status(waits=waits, words="back-off 5m0s restarting failed", restarts=restarts, ready=False)
    if not waits:
        own["state"] = {"running": {"startedAt": written(NOW - timedelta(minutes=1))}}
    last = {"exitCode": 128, "reason": reason, "message": words, "startedAt": "1970-01-01T00:00:00Z"}
    last["finishedAt"] = written(NOW - timedelta(minutes=2))
    return {**own, "lastState": {"terminated": last}}


@pytest.mark.parametrize("reason", ["StartError", "ContainerCannotRun"])
@pytest.mark.parametrize(("words", "is_own"), STARTS)
def test_a_container_that_never_ran_has_fallen_by_itself_only_where_that_is_said(
    reason: str, words: str, is_own: bool
) -> None:
    one = pod(never_ran(words, reason=reason, waits="CrashLoopBackOff"))
    web = read(deployment(), one)["app"]
    told = web.trouble if is_own else web.hindrance
    said = words or "back-off 5m0s restarting failed"
    assert (told or "").startswith(f"CrashLoopBackOff: {reason}; {said[:60]}")
    assert (web.hindrance if is_own else web.trouble) is None
    assert read(deployment(DEADLINE), one)["app"].failed is is_own


def test_what_ran_and_fell_is_its_own_whatever_it_said() -> None:
    last = {"exitCode": 1, "reason": "Error", "message": "no space left on device"}
    fell = {**status(waits="CrashLoopBackOff", restarts=5), "lastState": {"terminated": last}}
    assert read(deployment(), pod(fell))["app"].trouble == "CrashLoopBackOff"
    fell["lastState"]["terminated"]["reason"] = "OOMKilled"
    assert read(deployment(), pod(fell))["app"].trouble == "CrashLoopBackOff: OOMKilled"


def test_starts_that_the_node_prevented_are_no_falls() -> None:
    (gone, _), (full, _) = STARTS[0], STARTS[6]
    web = read(deployment(), pod(never_ran(full)))["app"]
    assert (web.ready, web.trouble, web.hindrance) == (0, None, None)
    for before in (never_ran(full), never_ran(gone), status(restarts=5), {"lastState": {}}):
        waits = status(waits="RunContainerError", words=full, restarts=5)
        web = read(deployment(), pod({**waits, "lastState": before["lastState"]}))["app"]
        assert web.trouble is None
        assert (web.hindrance or "").startswith(f"RunContainerError: {full[:60]}")
    web = read(deployment(), pod(never_ran(gone)))["app"]
    assert web.trouble == "it was started again 5 times, the last time after StartError, exit code 128"


@pytest.mark.parametrize("reason", ["StartError", "Oops\x1b[31m\nforged"])
def test_what_a_container_ended_with_is_told_as_one_line(reason: str) -> None:
    words = STARTS[0][0] + "\n\x1b[31mforged\u202e " * 9
    for waits in ("CrashLoopBackOff", "RunContainerError", ""):
        own = never_ran(words, reason=reason, waits=waits)
        if waits == "RunContainerError":
            own["state"]["waiting"]["message"] = words
        trouble = read(deployment(), pod(own))["app"].trouble
        assert trouble is not None
        assert trouble.isprintable()
        assert len(trouble) < 1000
    # However much there is of it.
    much = never_ran("x" * 3_000_000, waits="CrashLoopBackOff")
    assert len(read(deployment(), pod(much))["app"].hindrance or "") < 1000


def test_what_is_wrong_beside_a_container_is_in_its_way() -> None:
    beside = status("proxy", waits="ErrImagePull", words="429 Too Many Requests")
    found = read(deployment(images=BOTH), pod(status(ready=False), beside, images=BOTH))
    assert (found["app"].trouble, found["app"].hindrance) == (
        None, "container proxy: ErrImagePull: 429 Too Many Requests",
    )  # fmt: skip
    assert found["proxy"].hindrance == "ErrImagePull: 429 Too Many Requests"


FALLS_AGAIN = status(waits="CrashLoopBackOff", restarts=7)
LATELY = status(restarts=3, up=timedelta(minutes=1))


@pytest.mark.parametrize(
    ("conditions", "pods", "failed", "trouble", "hindrance"),
    [
        ((), [status()] * 19 + [FALLS_AGAIN], False, None, "1 of 20 pods: CrashLoopBackOff"),
        ((), [status(), FALLS_AGAIN], False, None, "1 of 2 pods: CrashLoopBackOff"),
        ((), [status(), FALLS_AGAIN, FALLS_AGAIN], False, "CrashLoopBackOff", None),
        ((), [LATELY, FALLS_AGAIN], False, "CrashLoopBackOff", None),
        ((), [FALLS_AGAIN], False, "CrashLoopBackOff", None),
        ((DEADLINE,), [status(), FALLS_AGAIN], True, f"{GAVE_UP}; CrashLoopBackOff", None),
        ((QUOTA,), [status(), FALLS_AGAIN], False, None, "1 of 2 pods: CrashLoopBackOff"),
    ],
)
def test_what_more_pods_run_well_than_not_has_failed_only_when_its_rollout_has(
    conditions: tuple[Object, ...],
    pods: list[Object],
    failed: bool,
    trouble: str | None,
    hindrance: str | None,
) -> None:
    web = read(deployment(*conditions), *map(pod, pods))["app"]
    assert (web.failed, web.trouble, web.hindrance) == (failed, trouble, hindrance)


@pytest.mark.parametrize(
    ("conditions", "one", "failed", "trouble", "hindrance"),
    [
        ((DEADLINE,), pod(status(waits="CrashLoopBackOff")), True, f"{GAVE_UP}; CrashLoopBackOff", None),
        ((DEADLINE,), pod(status(ready=False)), True, GAVE_UP, None),
        ((DEADLINE,), pod(status(waits="ContainerCreating")), False, None, GAVE_UP),
        (
            (DEADLINE,), pod(status(waits="ErrImagePull", words="503 Service Unavailable")),
            False, None, f"{GAVE_UP}; ErrImagePull: 503 Service Unavailable",
        ),
        ((DEADLINE,), pod(status()), False, None, GAVE_UP),
        (
            (DEADLINE,), pod(status(), status("proxy", waits="CrashLoopBackOff"), images=BOTH),
            False, None, f"{GAVE_UP}; container proxy: CrashLoopBackOff",
        ),
        (
            (DEADLINE,), pod(status(ready=False), status("proxy", waits="CrashLoopBackOff"), images=BOTH),
            False, None, f"{GAVE_UP}; container proxy: CrashLoopBackOff",
        ),
        (
            (DEADLINE,), pod(status(ready=False), status("proxy", ready=False), images=BOTH),
            False, None, GAVE_UP,
        ),
        (
            (DEADLINE,), pod(images={"app": WEB}, conditions=(NO_NODE,)),
            False, None, f"{GAVE_UP}; Unschedulable: 0/3 nodes",
        ),
        ((DEADLINE, QUOTA), pod(status(ready=False)), False, None, f"{GAVE_UP}; exceeded quota: team"),
        ((QUOTA,), pod(status()), False, None, "exceeded quota: team"),
        ((), pod(images={"app": WEB}, conditions=(NO_NODE,)), False, None, "Unschedulable: 0/3 nodes"),
        (
            (), pod(status(waits="CreateContainerConfigError")),
            False, None, "CreateContainerConfigError",
        ),
        ((), pod(status(), conditions=(GATE,)), False, None, "ReadinessGatesNotReady"),
    ],
)  # fmt: skip
def test_a_controller_that_gave_up_says_it_of_the_container_that_is_ill_and_of_no_other(
    conditions: tuple[Object, ...], one: Object, failed: bool, trouble: str | None, hindrance: str | None
) -> None:
    images = {each["name"]: each["image"] for each in one["spec"]["containers"]}
    web = read(deployment(*conditions, images=images), one)["app"]
    assert (web.failed, web.trouble, web.hindrance) == (failed, trouble, hindrance)


TEN, HALF_AN_HOUR, A_SECOND = timedelta(minutes=10), timedelta(minutes=30), timedelta(seconds=1)


@pytest.mark.parametrize(
    ("deadline", "ran", "failed"),
    [
        (None, TEN - A_SECOND, False),
        (None, TEN, True),
        (1800, HALF_AN_HOUR - A_SECOND, False),
        (1800, HALF_AN_HOUR, True),
        (60, timedelta(seconds=59), False),
        (60, timedelta(minutes=1), True),
        (None, timedelta(hours=-1), False),
        ("60", TEN - A_SECOND, False),
        (True, TEN - A_SECOND, False),
        (10**400, timedelta(days=999), False),
    ],
)
@pytest.mark.parametrize("kind", ["Deployment", "Rollout"])
def test_a_deadline_that_passed_is_held_against_what_has_had_that_time_itself(
    kind: str, deadline: object, ran: timedelta, failed: bool
) -> None:
    late = pod(status(ready=False, up=ran))
    more = {} if deadline is None else {"progressDeadlineSeconds": deadline}
    if kind == "Deployment":
        web, gave_up = read(deployment(DEADLINE, **more), late)["app"], GAVE_UP
    else:
        web_told, made = deployment(**more, status={"phase": "Degraded", "message": "timed out"})
        web_told["metadata"]["uid"] = made["metadata"]["ownerReferences"][0]["uid"] = "Rollout"
        objects = {"rollouts": [controller(web_told)], "replicasets": [replica_set(made)]}
        (web,), gave_up = read_running(objects, [read_pod(late, NOW)]), "Degraded: timed out"
    assert (web.kind, web.ready, web.failed) == (kind, 0, failed)
    assert (web.trouble, web.hindrance) == ((gave_up, None) if failed else (None, gave_up))


def test_a_deadline_that_passed_is_held_against_one_of_several_that_has_had_its_time() -> None:
    new, old = (pod(status(ready=False, up=up)) for up in (timedelta(minutes=1), timedelta(minutes=11)))
    assert read(deployment(DEADLINE), new, old)["app"].failed
    assert not read(deployment(DEADLINE), new, new)["app"].failed
    # What falls does not have to wait for that.
    falls = pod(status(ready=False, restarts=3, up=timedelta(minutes=1)))
    assert read(deployment(DEADLINE), falls)["app"].failed
    # Where it is not told since when it runs, its controller is believed.
    untold = status(ready=False)
    untold["state"] = {"running": {}}
    assert read(deployment(DEADLINE), pod(untold))["app"].failed


@pytest.mark.parametrize("observed", [0, "0", None, "9" * 5000])
def test_a_status_of_an_earlier_spec_says_nothing_of_this_one(observed: object) -> None:
    ill = pod(status(waits="CrashLoopBackOff"))
    web = read(deployment(DEADLINE, observed=observed), ill)["app"]
    assert (web.settled, web.failed, web.trouble) == (False, False, "CrashLoopBackOff")


def test_pods_that_are_told_to_end_are_not_counted() -> None:
    web = read(deployment(), pod(status()), pod(status(), is_going=True))["app"]
    assert web.ready == 1
    web = read(deployment(), pod(status(waits="CrashLoopBackOff"), is_going=True))["app"]
    assert (web.ready, web.trouble) == (0, None)


def test_an_old_pod_that_is_told_to_end_runs_no_old_version() -> None:
    old = pod(status(), images={"app": "ghcr.io/acme/web:1.4.2"}, kind="OldSet")
    leaves = pod(status(), images={"app": "ghcr.io/acme/web:1.4.2"}, kind="OldSet", is_going=True)
    web, made = deployment()
    before = {
        "metadata": {**made["metadata"], "uid": "OldSet"},
        "spec": {"replicas": 0, "template": {"spec": spec({"app": "ghcr.io/acme/web:1.4.2"})}},
    }
    objects = {"deployments": [controller(web)], "replicasets": [replica_set(made), replica_set(before)]}
    told = [
        [(one.reference, one.wanted) for one in read_running(objects, [read_pod(each, NOW) for each in pods])]
        for pods in ([pod(status()), old], [pod(status()), leaves], [leaves, pod(status())])
    ]
    assert told == [[(WEB, 1), ("ghcr.io/acme/web:1.4.2", 0)], [(WEB, 1)], [(WEB, 1)]]
    # Of a controller that is not read, what it is told to run is what its pods that stay run.
    leaves = pod(status(), images={"app": "ghcr.io/acme/web:1.4.2"}, kind="CloneSet", is_going=True)
    pods = [read_pod(one, NOW) for one in (leaves, pod(status(), kind="CloneSet"))]
    assert [(one.reference, one.wanted) for one in read_running({}, pods)] == [(WEB, 1)]


def test_how_often_containers_were_started_again_is_counted_for_pods_that_stay() -> None:
    pods = [
        pod(status(restarts=3)), pod(status(restarts=4)), pod(status(restarts=9), is_going=True),
        pod(images={"app": WEB}, conditions=(NO_NODE,)),
    ]  # fmt: skip
    assert read(deployment(), *pods)["app"].restarts == 7
    assert read(deployment(), pod(status()))["app"].restarts == 0
    assert read(deployment(), pods[-1])["app"].restarts is None
    both = read(deployment(images=BOTH), pod(status(), status("proxy", restarts=2), images=BOTH))
    assert (both["app"].restarts, both["proxy"].restarts) == (0, 2)


@pytest.mark.parametrize(
    ("told", "settled"),
    [
        ({"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "observedGeneration": 2}, True),
        ({"desiredNumberScheduled": 3, "updatedNumberScheduled": 2, "observedGeneration": 2}, False),
        ({"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "observedGeneration": 1}, False),
        ({"desiredNumberScheduled": 3, "observedGeneration": 2}, False),
    ],
)
def test_a_daemon_set_is_settled_once_each_node_has_its_present_template(told: Object, settled: bool) -> None:
    named = {"namespace": "shop", "name": "web", "uid": "DaemonSet", "generation": 2}
    agent = {"metadata": named, "spec": {"template": {"spec": spec({"app": WEB})}}, "status": told}
    (found,) = read_running({"daemonsets": [controller(agent)]}, [])
    assert (found.settled, found.wanted) == (settled, 3)


def stateful_set(*, updated: int, partition: int | None = None, revisions: str = "old new") -> Object:
    present, new = revisions.split()
    return {
        "metadata": {"namespace": "shop", "name": "web", "uid": "StatefulSet", "generation": 1},
        "spec": {
            "replicas": 3, "template": {"spec": spec({"app": WEB})},
            "updateStrategy": {"rollingUpdate": {"partition": partition}},
        },
        "status": {
            "observedGeneration": 1, "updatedReplicas": updated, "currentRevision": present,
            "updateRevision": new,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("updated", "partition", "revisions", "settled"),
    [
        (3, None, "old new", True),
        (2, None, "old new", False),
        (2, 1, "old new", True),
        (1, 1, "old new", False),
        (0, 3, "old new", True),
        (0, 5, "old new", True),
        (0, None, "new new", True),
    ],
)
def test_a_stateful_set_is_settled_once_it_is_updated_down_to_its_partition(
    updated: int, partition: int | None, revisions: str, settled: bool
) -> None:
    told = stateful_set(updated=updated, partition=partition, revisions=revisions)
    (found,) = read_running({"statefulsets": [controller(told)]}, [])
    assert found.settled is settled


def test_a_pod_of_an_older_revision_is_what_a_rollout_left_and_one_of_this_is_somebodys_doing() -> None:
    told = []
    for revision in ("old", "new"):
        own = pod(status(), images={"app": "ghcr.io/acme/web:1.4.2"}, kind="StatefulSet")
        own["metadata"]["labels"] = {"controller-revision-hash": revision}
        found = read_running({"statefulsets": [controller(stateful_set(updated=2))]}, [read_pod(own, NOW)])
        told += [one.wanted for one in found if one.reference != WEB]
    assert told == [0, None]


def test_ready_is_what_serves() -> None:
    assert read(deployment(), pod(status(), conditions=(GATE,)))["app"].ready == 0
    slow = {"minReadySeconds": 300}
    assert read(deployment(**slow), pod(status()))["app"].ready == 0
    assert read(deployment(status={"availableReplicas": 1}, **slow), pod(status()))["app"].ready == 1


OLD = "ghcr.io/acme/web:1.4.2"
REFERENCE = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}


def by_reference(
    *pods: Object, phase: str = "Healthy", image: str = WEB, to: object = REFERENCE, **more: Any
) -> list[Running]:
    """What is told of a Rollout of two replicas that runs the template of a Deployment which has `replicas`
    of its own; the Rollout's pods are those of the kind `RolloutSet`."""
    web, made = deployment()
    web["spec"]["replicas"] = made["spec"]["replicas"] = more.get("replicas", 0)
    web["metadata"]["generation"] = more.get("generation", 7)
    web["status"] = {"observedGeneration": 7, "replicas": more.get("replicas", 0)}
    web["status"]["updatedReplicas"] = more.get("replicas", 0)
    own = {
        "metadata": {"namespace": "shop", "name": "canary", "uid": "Rollout", "generation": 1},
        "spec": {"replicas": 2, "workloadRef": to},
        "status": {
            "observedGeneration": "1", "workloadObservedGeneration": "7", "phase": phase, "message": "x",
        },
    }  # fmt: skip
    owner = {"controller": True, "kind": "Rollout", "name": "canary", "uid": "Rollout"}
    copy = {
        "metadata": {"namespace": "shop", "uid": "RolloutSet", "ownerReferences": [owner]},
        "spec": {"replicas": 2, "template": {"spec": spec({"app": image})}},
    }
    objects = {
        "deployments": [controller(web)], "rollouts": [controller(own)],
        "replicasets": [replica_set(made), replica_set(copy)],
    }  # fmt: skip
    return list(read_running(objects, [read_pod(one, NOW) for one in pods]))


def copies(*statuses: Object, image: str = WEB, kind: str = "RolloutSet") -> list[Object]:
    return [pod(one, images={"app": image}, kind=kind) for one in statuses]


def shown(told: list[Running]) -> list[tuple[object, ...]]:
    return [(one.reference, one.wanted, one.ready, one.settled) for one in told]


def test_what_a_rollout_runs_for_a_deployment_is_the_deployments() -> None:
    told = by_reference(*copies(status(), status()))
    assert {one.place for one in told} == {"Deployment shop/web [app]"}
    assert shown(told) == [(WEB, 2, 2, True)], "what has no replicas for that says nothing"
    told = by_reference(*copies(status(), status()), phase="Progressing")
    assert shown(told) == [(WEB, 2, 2, False)]


def test_a_rollout_that_was_aborted_runs_the_version_before() -> None:
    told = by_reference(*copies(status(), status(), image=OLD), phase="Degraded", image=OLD)
    assert {one.place for one in told} == {"Deployment shop/web [app]"}
    assert shown(told) == [(WEB, 2, 0, False), (OLD, 0, 2, None)]
    assert (told[0].failed, told[0].hindrance) == (False, "Degraded: x")
    # Its canary is ill itself.
    ill = status(waits="CrashLoopBackOff", restarts=5)
    told = by_reference(*copies(ill), phase="Degraded")
    assert (told[0].failed, told[0].trouble) == (True, "Degraded: x; CrashLoopBackOff")


def test_a_rollout_that_has_not_seen_the_deployments_template_says_nothing_of_it() -> None:
    old = copies(status(), status(), image=OLD)
    assert shown(by_reference(*old, image=OLD, generation=8)) == [(WEB, 2, 0, False), (OLD, 0, 2, None)]
    ill = copies(status(waits="CrashLoopBackOff"))
    assert not by_reference(*ill, phase="Degraded", generation=8)[0].failed


def test_a_deployment_that_keeps_replicas_beside_its_rollout_runs_too() -> None:
    own = copies(status(), kind="ReplicaSet")
    told = by_reference(*copies(status(), status()), *own, replicas=1)
    assert {one.place for one in told} == {"Deployment shop/web [app]"}
    assert shown(told) == [(WEB, 1, 1, True), (WEB, 2, 2, True)]
    # What it still has, scaled to zero, it leaves behind; what is told to end is no matter.
    told = by_reference(*copies(status(), status()), *own)
    assert sorted(map(str, shown(told))) == sorted(map(str, [(WEB, 0, 1, None), (WEB, 2, 2, True)]))
    going = pod(status(), is_going=True)
    assert shown(by_reference(*copies(status(), status()), going)) == [(WEB, 2, 2, True)]


@pytest.mark.parametrize(
    "to",
    [
        None,
        "web",
        {**REFERENCE, "name": "other"},
        {**REFERENCE, "kind": "PodTemplate"},
        {**REFERENCE, "apiVersion": "example.com/v1"},
        {**REFERENCE, "name": ["web"]},
    ],
)
def test_a_rollout_that_refers_to_nothing_that_is_read_is_one_of_its_own(to: object) -> None:
    told = by_reference(*copies(status(), status()), to=to)
    assert [(one.place, one.wanted, one.ready) for one in told] == [
        ("Deployment shop/web [app]", 0, 0), ("Rollout shop/canary [app]", 2, 2),
    ]  # fmt: skip


JOB_TOLD = {"metadata": {"namespace": "shop", "name": "web", "uid": "Job"}}


@pytest.mark.parametrize(
    ("images", "reason", "failed", "trouble", "hindrance"),
    [
        ({"app": WEB}, "BackoffLimitExceeded", True, "BackoffLimitExceeded", None),
        ({"app": WEB}, "DeadlineExceeded", False, None, "DeadlineExceeded"),
        (BOTH, "BackoffLimitExceeded", False, None, "BackoffLimitExceeded"),
    ],
)
def test_a_job_that_failed_did_so_for_its_one_container(
    images: Mapping[str, str], reason: str, failed: bool, trouble: str | None, hindrance: str | None
) -> None:
    ended = {"conditions": [{"type": "Failed", "status": "True", "reason": reason}]}
    job = {**JOB_TOLD, "spec": {"template": {"spec": spec(images)}}, "status": ended}
    found = read_running({"jobs": [controller(job)]}, [])[0]
    assert (found.failed, found.trouble, found.hindrance) == (failed, trouble, hindrance)


def test_a_job_is_not_there_before_it_is_done() -> None:
    job = {**JOB_TOLD, "spec": {"template": {"spec": spec({"app": WEB})}}, "status": {"active": 1}}
    at_work = pod(status(), kind="Job")
    (found,) = read_running({"jobs": [controller(job)]}, [read_pod(at_work, NOW)])
    assert (found.wanted, found.ready, found.settled) == (1, 0, None)


@pytest.mark.parametrize(
    ("asked", "image", "identity", "is_same"),
    [
        (WEB, "mirror.example/acme/web:1.4.3", "", True),
        (WEB, "mirror.example/ghcr.io/acme/web:1.4.3", "", True),
        (WEB, f"{WEB}@{A}", "", True),
        ("nginx:1", "mirror.example/nginx:1", "", True),
        (WEB, "mirror.example/acme/web:1.4.2", "", False),
        (WEB, "ghcr.io/evil/miner:1", "", False),
        (WEB, "mirror.example/acme/otherweb:1.4.3", "", False),
        (WEB, f"ghcr.io/acme/web@{A}", "", False),
        (f"{WEB}@{A}", f"mirror.example/x@{A}", "", True),
        (f"{WEB}@{A}", "mirror.example/x:1", f"mirror.example/x@{A}", True),
        (f"{WEB}@{A}", f"{WEB}@{B}", "", False),
        (WEB, "not an image", "", False),
    ],
)
def test_a_pod_runs_its_template_or_a_mirror_of_it_or_something_else(
    asked: str, image: str, identity: str, is_same: bool
) -> None:
    web, made = deployment(images={"app": asked})
    own = read_pod(pod(status(identity=identity), images={"app": image}), NOW)
    found = read_running({"deployments": [web], "replicasets": [made]}, [own])
    told = {one.reference: (one.wanted, one.ready) for one in found}
    assert told == ({asked: (1, 1)} if is_same else {asked: (1, 0), image: (None, 1)})


@pytest.mark.parametrize(
    ("identity", "digest"),
    [
        (f"docker-pullable://ghcr.io/acme/web@{A}", A),
        (f"ghcr.io/acme/web@{A}", A),
        (A, None),
        ("ghcr.io/acme/web@sha256:abc", None),
        ("ghcr.io/acme/web:1.4.3", None),
        (f"@{A}", None),
    ],
)
def test_only_a_digest_of_a_repository_is_one(identity: str, digest: str | None) -> None:
    assert read(deployment(), pod(status(identity=identity)))["app"].digest == digest


def test_a_replica_set_without_pods_is_kept_in_outline() -> None:
    _, made = deployment()
    made["metadata"]["annotations"] = {"x": "y" * 1000}
    made["spec"]["replicas"] = 0
    kept = replica_set(made)
    assert kept["spec"] == {"replicas": 0}
    assert kept["metadata"].keys() == {"namespace", "name", "uid", "ownerReferences"}


def test_a_synchronizer_that_is_suspended_says_nothing_else() -> None:
    ready = {"type": "Ready", "status": "False", "reason": "HealthCheckFailed", "message": "x"}
    told = {
        "metadata": {"namespace": "flux-system", "name": "apps", "generation": 1},
        "spec": {"suspend": True},
        "status": {"observedGeneration": 1, "conditions": [ready]},
    }
    (sync,) = read_flux({"kustomizations": [told]})
    assert (sync.healthy, sync.trouble) == (None, "it is suspended")
