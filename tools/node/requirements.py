"""What a node takes of the machine, and what of that is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.node import cgroups

PACKAGES = {
    "conntrack": "conntrack",
    "ipset": "ipset",
    "iptables": "iptables",
    "nft": "nftables",
    "runc": "runc",
}
"""The Debian package of each program that is Debian's."""
CNI_PLUGINS = Path("/usr/lib/cni")
PATH = os.pathsep.join(("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"))
"""Where the programs are looked for: a shell that isn't a login's may leave out sbin."""
NAMESPACES = ("--fork", "--pid", "--mount", "--net", "--ipc", "--uts", "--cgroup")


def find_missing() -> list[str]:
    """Find what a node can't run without here, each as the end of a sentence that begins with "needs"."""
    if sys.platform != "linux":
        return [f"Linux, and this is {sys.platform}"]
    if os.geteuid():
        return ["root"]
    missing = [f"Debian's package {name}" for program, name in PACKAGES.items() if not shutil.which(program, path=PATH)]
    if not find_plugin():
        missing.append("Debian's package containernetworking-plugins")
    if controllers := cgroups.find_missing():
        missing.append(f"cgroups of version 1 with {', '.join(controllers)}")
    if "overlay" not in Path("/proc/filesystems").read_text():
        missing.append("the kernel's overlay file system")
    if said := _try_namespaces():
        missing.append(f"namespaces of its own ({said})")
    return missing


def find_plugin() -> bool:
    """Whether the CNI plugins are there that connect pods."""
    return (CNI_PLUGINS / "ptp").exists()


def _try_namespaces() -> str:
    tried = subprocess.run(
        ["unshare", *NAMESPACES, "--mount-proc", "true"], capture_output=True, text=True, check=False
    )
    return tried.stderr.strip() if tried.returncode else ""
