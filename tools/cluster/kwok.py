"""A control plane that kwokctl sets up: etcd and Kubernetes as processes, nodes and pods played by kwok."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from tools.cluster.administrator import Administrator, ControlPlaneError
from tools.cluster.binaries import control_plane, kubernetes_version
from tools.host import cache_root, end_all, free_ports, locked, running, try_lock

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller")

# kwokctl's names of the settings. Those it isn't given it counts down from the same number every
# time, so that two clusters starting at the same instant would choose alike.
PORT_OPTIONS = (
    "etcdPort",
    "etcdPeerPort",
    "kubeApiserverPort",
    "kubeControllerManagerPort",
    "kubeSchedulerPort",
    "kwokControllerPort",
)

SECONDS_TO_START = 240.0
LINES_OF_LOG = 8


class Cluster(Administrator):
    """A running control plane; a context manager that ends it and removes its files.

    Attributes:
        name: Unique on this machine.
        folder: Everything this cluster writes lies here.
        admin_kubeconfig: Path of a kubeconfig that may do everything.
        server: The API server's address, on this machine only.
        audit_log: Where audited requests appear as JSON lines, if a policy was given.
        logs: Folder with one log file per component.
    """

    def __init__(self, name: str, folder: Path, programs: Path, *, audited: bool) -> None:
        """Describe a cluster; `create` starts one."""
        super().__init__(name, folder, programs)
        self.logs = self._workdir / "logs"
        self.audit_log = self.logs / "audit.log" if audited else None
        self._owner: BinaryIO | None = None
        self._stopped: dict[str, list[str]] = {}
        self._restarted: list[subprocess.Popen[bytes]] = []

    @classmethod
    def create(
        cls,
        name: str = "mpo",
        *,
        audit_policy: Path | None = None,
        admission_plugins: Sequence[str] = (),
        emulated_version: str | None = None,
        nodes: int = 1,
        folder: Path | None = None,
        exec_from: Path | None = None,
    ) -> Self:
        """Start a control plane and return once it answers and its controllers work.

        Args:
            name: What its unique name starts with.
            audit_policy: File with an audit policy; its requests are then logged in `audit_log`.
            admission_plugins: The API server's, besides those that are on by default.
            emulated_version: The Kubernetes that it behaves like, such as 1.34; its own by default.
            nodes: Number of nodes that kwok plays.
            folder: Where to keep it. A cluster with a folder outlives this process; one without
                is ended by the next `create` of anybody, should this process end without doing so.
            exec_from: Folder of programs that `kubectl exec` runs on this machine, besides those on the PATH, for pods
                that a ClusterExec of kwok's selects; None if it runs none.

        Raises:
            ControlPlaneError: It could not be built or did not start. Nothing is left of it.
        """
        bin_folder = control_plane()
        name = f"{name}-{secrets.token_hex(4)}"
        owner = None
        if folder is None:
            folder, owner = _owned_folder(name)
        cluster = cls(name, folder.resolve(), bin_folder, audited=audit_policy is not None)
        cluster._owner = owner
        try:
            cluster._start(audit_policy, admission_plugins, emulated_version, exec_from)
            cluster._kwokctl("scale", "node", f"--replicas={nodes}")
        except BaseException:
            cluster.stop()
            raise
        return cluster

    def wait_ready(self, timeout: float = SECONDS_TO_START) -> None:
        """Return once the API server is ready and the controllers have made the first ServiceAccount."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.kubectl("get", "--raw=/readyz", "--request-timeout=5s")
                self.kubectl("get", "serviceaccount", "default", "-n=default", "--request-timeout=5s")
            except ControlPlaneError as error:
                if time.monotonic() > deadline:
                    raise ControlPlaneError(f"Not ready after {timeout:.0f} s: {error}") from error
                time.sleep(0.1)
            else:
                return

    def stop_component(self, name: str, *, graceful: bool = True, timeout: float = 30.0) -> None:
        """End one component and leave the others: an outage.

        Args:
            name: One of COMPONENTS.
            graceful: Ask it to end. Otherwise it is killed, as by a machine that fails.
            timeout: How long to wait for its end.

        Raises:
            ControlPlaneError: It is not running, or did not end in time.
        """
        pid, arguments = self._process(name)
        self._stopped[name] = arguments
        os.kill(pid, signal.SIGTERM if graceful else signal.SIGKILL)
        deadline = time.monotonic() + timeout
        while pid in running(self._workdir):
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"{name} has not ended after {timeout:.0f} s")
            time.sleep(0.02)

    def start_component(self, name: str) -> None:
        """Start a stopped component again just as it was; `wait_ready` waits until it serves.

        Raises:
            ControlPlaneError: It was not stopped by `stop_component`.
        """
        if name not in self._stopped:
            raise ControlPlaneError(f"{name} is not stopped")
        with (self.logs / f"{name}.log").open("ab") as log:
            self._restarted.append(
                subprocess.Popen(
                    self._stopped.pop(name),
                    cwd=self._workdir,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def stop(self) -> None:
        """End every process and remove every file of this cluster."""
        with self._owner or nullcontext(), _housekeeping() if self._owner else nullcontext():
            remove(self.folder)
        for process in self._restarted:
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _workdir(self) -> Path:
        return self.folder / "kwok" / "clusters" / self.name

    def _process(self, name: str) -> tuple[int, list[str]]:
        program = str(self._workdir / "bin" / name)
        for pid, arguments in running(self._workdir).items():
            if arguments[0] == program:
                return pid, arguments
        raise ControlPlaneError(f"{name} is not running")

    def _start(
        self,
        audit_policy: Path | None,
        admission_plugins: Sequence[str],
        emulated_version: str | None,
        exec_from: Path | None,
    ) -> None:
        (self.folder / "kwok").mkdir(parents=True, exist_ok=True)
        # Started through this link, kwokctl is found among the processes of this cluster.
        (self.folder / "kwok" / "kwokctl").symlink_to(self.programs / "kwokctl")
        with free_ports(PORT_OPTIONS) as ports:
            self.server = f"https://127.0.0.1:{ports['kubeApiserverPort']}"
            (self.folder / "kwokctl.json").write_text(
                json.dumps(
                    configuration(
                        self.programs,
                        ports,
                        audit_policy,
                        admission_plugins,
                        emulated_version,
                        exec_here=exec_from is not None,
                    ),
                    indent=2,
                )
            )
            self._kwokctl("create", "cluster", f"--kubeconfig={self.admin_kubeconfig}", first_on_path=exec_from)
            self.admin_kubeconfig.chmod(0o600)
            self.wait_ready()  # kwokctl doesn't wait until all of them listen, and the ports are claimed so long

    def _kwokctl(self, *arguments: str, first_on_path: Path | None = None) -> None:
        command: list[str | Path] = [
            self.folder / "kwok" / "kwokctl",
            f"--config={self.folder / 'kwokctl.json'}",
            f"--name={self.name}",
            *arguments,
        ]
        # Settings of the user's own kwok would change this cluster; kwokctl prefers a kubectl on the PATH.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KWOK_")}
        environment["KWOK_WORKDIR"] = str(self.folder / "kwok")
        folders = [*([first_on_path] if first_on_path else []), self.programs, os.environ.get("PATH", os.defpath)]
        environment["PATH"] = os.pathsep.join(map(str, folders))
        try:
            subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=True,
                timeout=SECONDS_TO_START,
                # Ctrl-C is for this process, which then ends the cluster in order.
                start_new_session=True,
            )
        except subprocess.CalledProcessError as error:
            raise ControlPlaneError(f"kwokctl failed:\n{_last_lines(error.output)}{self._causes()}") from None
        except subprocess.TimeoutExpired:
            raise ControlPlaneError(
                f"The control plane did not start in {SECONDS_TO_START:.0f} s.{self._causes()}"
            ) from None

    def _causes(self) -> str:
        """The last lines of the components that ended by themselves."""
        alive = {Path(arguments[0]).name for arguments in running(self._workdir).values()}
        causes = ""
        for name in COMPONENTS:
            log = self.logs / f"{name}.log"
            if name not in alive and log.exists():
                causes += f"\n{name} ended:\n{_last_lines(log.read_text(errors='replace'))}"
        return causes


def configuration(
    bin_folder: Path,
    ports: dict[str, int],
    audit_policy: Path | None,
    admission_plugins: Sequence[str] = (),
    emulated_version: str | None = None,
    *,
    exec_here: bool = False,
) -> dict[str, object]:
    """The document that tells kwokctl all it would otherwise look up, download or choose."""
    emulation = [{"key": "emulated-version", "value": emulated_version}] if emulated_version else []
    return {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "options": {
            "runtime": "binary",
            "kubeVersion": kubernetes_version(),
            # Its default is every interface, which offers an etcd without a password to the whole network.
            "bindAddress": "127.0.0.1",
            **ports,
            "etcdBinary": str(bin_folder / "etcd"),
            "kubeApiserverBinary": str(bin_folder / "kube-apiserver"),
            "kubeControllerManagerBinary": str(bin_folder / "kube-controller-manager"),
            "kubeSchedulerBinary": str(bin_folder / "kube-scheduler"),
            "kwokControllerBinary": str(bin_folder / "kwok"),
            "kubectlBinary": str(bin_folder / "kubectl"),
            **({"kubeAuditPolicy": str(audit_policy.resolve())} if audit_policy else {}),
            **({"enableCRDs": ["ClusterExec"]} if exec_here else {}),
        },
        "componentsPatches": [
            {
                "name": "kube-apiserver",
                # Otherwise it looks for the address of a network, and doesn't start without one. No pod
                # ever calls it, so the endpoints of the Service "kubernetes" are not needed.
                "extraArgs": [
                    {"key": "advertise-address", "value": "127.0.0.1"},
                    {"key": "endpoint-reconciler-type", "value": "none"},
                    # Its default has room for 253 Services only.
                    {"key": "service-cluster-ip-range", "value": "10.96.0.0/16"},
                    # Asked to end, it otherwise waits a minute for those who watch.
                    {"key": "shutdown-watch-termination-grace-period", "value": "1s"},
                    *(
                        [{"key": "enable-admission-plugins", "value": ",".join(admission_plugins)}]
                        if admission_plugins
                        else []
                    ),
                    *emulation,
                ],
            },
            *({"name": name, "extraArgs": emulation} for name in ("kube-controller-manager", "kube-scheduler")),
        ],
    }


def remove(folder: Path) -> None:
    """End the processes of the cluster in the folder, if any, and remove the folder."""
    end_all(folder.resolve() / "kwok")
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _housekeeping() -> AbstractContextManager[None]:
    """Keep others from tidying up a folder that is being made or removed."""
    return locked(cache_root() / "clusters.lock")


def _owned_folder(name: str) -> tuple[Path, BinaryIO]:
    """A new folder with a lock held by this process; those whose owners are gone are removed first."""
    folder = cache_root() / "clusters"
    with _housekeeping():
        folder.mkdir(exist_ok=True)
        for other in folder.iterdir():
            if gone := try_lock(other / "owner"):
                with gone:
                    remove(other)
        (folder / name).mkdir(mode=0o700)
        owner = try_lock(folder / name / "owner")
        assert owner, "nobody else knows the name"
        owner.write(f"{os.getpid()}\n".encode())
        owner.flush()
        return folder / name, owner


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-LINES_OF_LOG:])
