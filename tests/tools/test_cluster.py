import io
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tools import host
from tools.cluster import Cluster, ControlPlaneError, control_plane, helm3, kwok
from tools.cluster.binaries import control_plane_programs, kubernetes_pins
from tools.programs import MissingToolError, ToolError
from tools.progress import Progress, elapsed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MASKINPORTEN_OPERATOR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache in which no other test's cluster tidies up, with the programs that are built already."""
    control_plane()
    built, cache = control_plane_programs().folder, tmp_path / "cache"
    cache.mkdir()
    (cache / built.name).symlink_to(built)
    monkeypatch.setenv("MASKINPORTEN_OPERATOR_CACHE", str(cache))


@pytest.fixture
def pins(tmp_path):
    return Path(shutil.copytree(kubernetes_pins().folder, tmp_path / "pins"))


def fake_go(folder, script):
    program = folder / "path" / "go"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program.parent)


class TestCache:
    def test_the_key_is_the_same_for_the_same_pins(self, pins):
        assert control_plane_programs(pins).key == control_plane_programs().key
        assert len(control_plane_programs().key) == 12

    @pytest.mark.parametrize("name", ["go.mod", "go.sum"])
    def test_the_key_changes_with_every_pin(self, pins, name):
        with (pins / name).open("a") as file:
            file.write("\n")
        assert control_plane_programs(pins).key != control_plane_programs().key

    def test_the_key_changes_with_the_kind_of_machine(self, monkeypatch):
        here = control_plane_programs().key
        monkeypatch.setattr("platform.machine", lambda: "riscv64")
        assert control_plane_programs().key != here

    def test_it_lies_where_the_user_says_or_where_caches_belong(self, tmp_path, monkeypatch):
        monkeypatch.delenv("MASKINPORTEN_OPERATOR_CACHE", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert host.cache_root() == tmp_path / "xdg" / "maskinporten-operator"
        monkeypatch.setenv("MASKINPORTEN_OPERATOR_CACHE", str(tmp_path / "own"))
        assert host.cache_root() == tmp_path / "own"

    def test_a_filled_one_is_used_at_once_and_without_go(self, empty_cache, monkeypatch):
        folder = control_plane_programs().folder
        (folder / "bin").mkdir(parents=True)
        monkeypatch.setenv("PATH", "")
        assert control_plane() == folder / "bin"

    def test_helm_3_is_built_by_itself_and_leaves_the_control_planes_key_alone(
        self, empty_cache, tmp_path, monkeypatch
    ):
        before = control_plane_programs().key
        script = '[ $1 = env ] && { echo go1.27.1; exit; }\nwhile [ "$1" != -o ]; do shift; done; : > "$2"'
        monkeypatch.setenv("PATH", fake_go(tmp_path, script))
        program = helm3()
        assert program.is_file()
        assert [path.name for path in empty_cache.iterdir() if path.is_dir()] == [program.parents[1].name]
        assert control_plane_programs().key == before


class TestBuild:
    def test_without_go_one_sentence_says_what_to_install(self, empty_cache, monkeypatch):
        monkeypatch.setenv("PATH", "")
        with pytest.raises(MissingToolError) as caught:
            control_plane()
        assert str(caught.value) == (
            "Building the local control plane needs Go 1.26.0 or newer (https://go.dev/dl/); "
            "without it, use CLUSTER=kind or CLUSTER=current."
        )
        assert caught.value.exit_code == 2

    @pytest.mark.parametrize("script", ["echo go1.25.9", "echo 'cannot fetch go1.26.0' >&2; exit 1", "echo"])
    def test_a_go_that_is_too_old_is_like_none(self, empty_cache, tmp_path, monkeypatch, script):
        monkeypatch.setenv("PATH", fake_go(tmp_path, script))
        with pytest.raises(MissingToolError, match=r"needs Go 1\.26\.0"):
            control_plane()

    def test_a_failure_shows_the_last_lines_of_go_and_leaves_no_half_cache(self, empty_cache, tmp_path, monkeypatch):
        script = 'case $1 in env) echo go1.26.8 ;; *) echo "undefined: Foo" >&2; exit 1 ;; esac'
        monkeypatch.setenv("PATH", fake_go(tmp_path, script))
        with pytest.raises(ToolError, match=r"could not build k8s\.io/.*\n.*undefined: Foo"):
            control_plane()
        assert [path.suffix for path in empty_cache.iterdir()] == [".lock"]

    def test_of_two_at_once_the_second_waits_and_says_so(self, empty_cache, monkeypatch, capsys):
        folder = control_plane_programs().folder
        monkeypatch.setenv("PATH", "")
        with ThreadPoolExecutor() as pool:
            with host.locked(folder.with_suffix(".lock")):
                second = pool.submit(control_plane)
                time.sleep(0.5)
                assert not second.done()
                (folder / "bin").mkdir(parents=True)
            assert second.result(timeout=5) == folder / "bin"
        assert "Somebody else is building the local control plane; waiting for it" in capsys.readouterr().err

    def test_all_programs_appear_together_under_their_names(self, empty_cache, tmp_path, monkeypatch):
        script = (
            "[ $1 = env ] && { echo go1.27.1; exit; }\n"
            'while [ "$1" != -o ]; do shift; done; : > "$2"; [ "$CGO_ENABLED$GOWORK" = 0off ]'
        )
        monkeypatch.setenv("PATH", fake_go(tmp_path, script))
        folder = control_plane()
        assert {path.name for path in folder.iterdir()} == set(control_plane_programs().packages)
        assert [path.name for path in folder.parent.iterdir()] == ["bin"]

    def test_an_interrupted_one_ends_go_and_leaves_nothing(self, empty_cache, tmp_path, monkeypatch):
        script = f"[ $1 = env ] && {{ echo go1.26.0; exit; }}\nexec {shutil.which('sleep')} 300"
        monkeypatch.setenv("PATH", fake_go(tmp_path, script))
        # A shell that starts the tests in the background has them ignore Ctrl-C.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)

        def press_ctrl_c():
            while not any(empty_cache.glob("*.partial/tmp/go.log")):
                time.sleep(0.01)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        threading.Thread(target=press_ctrl_c).start()
        with pytest.raises(KeyboardInterrupt):
            control_plane()
        signal.signal(signal.SIGINT, before)
        assert [path.suffix for path in empty_cache.iterdir()] == [".lock"]


class TestProgress:
    def test_time_reads_like_a_clock(self):
        assert [elapsed(0), elapsed(61.9), elapsed(605)] == ["0:00", "1:01", "10:05"]

    def test_a_terminal_sees_one_line_rewritten(self):
        stream = io.StringIO()
        stream.isatty = lambda: True
        line = Progress(stream)
        line.step("Building")
        line.tick()
        line.clear()
        assert stream.getvalue() == "\r\x1b[2KBuilding … 0:00" * 2 + "\r\x1b[2K"

    def test_a_log_sees_one_line_per_step_and_half_minute(self, monkeypatch):
        clock = iter([0.0, 100.0, 110.0, 131.0, 131.0])
        monkeypatch.setattr("time.monotonic", lambda: next(clock))
        stream = io.StringIO()
        line = Progress(stream)
        for _ in range(3):
            line.step("Building")
        line.step("Starting")
        assert stream.getvalue().splitlines() == ["Building … 1:40", "Building … 2:11", "Starting … 2:11"]


class TestPorts:
    def test_they_differ_and_nobody_listens_there(self, empty_cache):
        with host.free_ports(("a", "b", "c")) as ports:
            assert len(set(ports.values())) == 3
            assert all(port in host.PORTS for port in ports.values())

    def test_starting_at_the_same_instant_never_gives_the_same_ones(self, empty_cache, monkeypatch):
        monkeypatch.setattr("random.sample", lambda population, k: list(population))
        with (
            host.free_ports(("a", "b")) as mine,
            host.free_ports(("a", "b")) as yours,
            host.free_ports(("a", "b")) as theirs,
        ):
            assert len({*mine.values(), *yours.values(), *theirs.values()}) == 6

    def test_claims_are_given_back(self, empty_cache):
        with host.free_ports(("a", "b")):
            assert len(list((empty_cache / "ports").iterdir())) == 2
        assert not list((empty_cache / "ports").iterdir())


class TestProcesses:
    @pytest.fixture
    def sleeper(self, tmp_path):
        program = tmp_path / "cluster" / "sleep"
        program.parent.mkdir()
        program.symlink_to(shutil.which("sleep"))
        with subprocess.Popen([program, "300"]) as process:
            while not host.running(program.parent):  # it has no command line in its first instant
                time.sleep(0.01)
            yield process
            process.kill()

    def test_those_of_a_folder_are_found_by_where_their_program_lies(self, sleeper, tmp_path):
        assert host.running(tmp_path / "cluster") == {sleeper.pid: [str(tmp_path / "cluster/sleep"), "300"]}
        assert not host.running(tmp_path / "clus")

    def test_those_of_a_folder_are_ended(self, sleeper, tmp_path):
        host.end_all(tmp_path / "cluster")
        assert sleeper.wait(timeout=1) < 0


class TestConfiguration:
    def test_everything_listens_on_this_machine_only(self):
        settings = kwok.configuration(Path("bin"), {"etcdPort": 20001}, None)
        assert settings["options"]["bindAddress"] == "127.0.0.1"
        assert settings["options"]["etcdPort"] == 20001

    def test_an_audit_policy_is_found_from_anywhere(self):
        settings = kwok.configuration(Path("bin"), {}, Path("policy.yaml"))
        assert settings["options"]["kubeAuditPolicy"] == str(Path.cwd() / "policy.yaml")


@pytest.fixture(scope="module")
def clusters(tmp_path_factory):
    policy = tmp_path_factory.mktemp("audit") / "policy.json"
    policy.write_text(json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}))
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        starting = [pool.submit(Cluster.create, "side", audit_policy=policy) for _ in range(2)]
        yield [stack.enter_context(future.result()) for future in starting]


@pytest.mark.e2e
class TestTwoClusters:
    def test_side_by_side_both_are_ready(self, clusters):
        assert [cluster.kubectl("get", "--raw", "/readyz") for cluster in clusters] == ["ok", "ok"]
        assert len({cluster.server for cluster in clusters}) == 2

    def test_a_service_account_has_its_own_rights_and_no_others(self, clusters):
        cluster = clusters[0]
        cluster.kubectl("create", "rolebinding", "see", "--clusterrole=view", "--serviceaccount=default:default")
        kubeconfig = cluster.kubeconfig_of("default", "default")
        who = ["auth", "can-i", "--kubeconfig", str(kubeconfig)]
        assert cluster.kubectl(*who, "list", "pods").strip() == "yes"
        with pytest.raises(ControlPlaneError):
            cluster.kubectl(*who, "list", "secrets")

    def test_requests_are_audited(self, clusters):
        clusters[0].kubectl("get", "configmaps", "-n=kube-public")
        events = [json.loads(line) for line in clusters[0].audit_log.read_text().splitlines()]
        assert any(event["requestURI"].startswith("/api/v1/namespaces/kube-public") for event in events)

    def test_pods_come_to_run(self, clusters):
        clusters[0].kubectl("create", "deployment", "two", "--image=none", "--replicas=2")
        clusters[0].kubectl("wait", "--for=condition=Available", "deployment/two", "--timeout=30s")

    @pytest.mark.parametrize("graceful", [True, False], ids=["asked", "killed"])
    def test_an_outage_of_one_api_server_is_none_of_the_other(self, clusters, graceful, request):
        mine, other = clusters
        mine.kubectl("create", "configmap", f"kept-{request.node.callspec.id}")
        mine.stop_component("kube-apiserver", graceful=graceful)
        with pytest.raises(ControlPlaneError):
            mine.kubectl("get", "--raw", "/readyz")
        assert other.kubectl("get", "--raw", "/readyz") == "ok"
        mine.start_component("kube-apiserver")
        mine.wait_ready()
        mine.kubectl("get", "configmap", f"kept-{request.node.callspec.id}")

    def test_nothing_remains_after_stop(self):
        with Cluster.create("gone") as cluster:
            assert len(host.running(cluster.folder)) == len(kwok.COMPONENTS)
        assert not host.running(cluster.folder)
        assert not cluster.folder.exists()

    def test_what_a_killed_owner_left_is_removed_by_the_next_start(self, own_cache):
        script = "from tools.cluster import Cluster; print(Cluster.create('left').folder, flush=True); input()"
        with subprocess.Popen(
            [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as owner:
            folder = Path(owner.stdout.readline().strip())
            owner.kill()
        assert host.running(folder)
        with Cluster.create("next"):
            assert not host.running(folder)
            assert not folder.exists()
