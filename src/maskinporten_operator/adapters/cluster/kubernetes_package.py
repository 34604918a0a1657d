"""The kubernetes package, for a process without a home and without a directory for temporary files."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def _some_home() -> Iterator[None]:
    """Set a home directory, without which the package can't be imported: a uid without a passwd entry has none."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"
        try:
            yield
        finally:
            del os.environ["HOME"]
    else:
        yield


with _some_home():
    from kubernetes.aio.client import Configuration
    from kubernetes.aio.config import ConfigException, kube_config, load_incluster_config, load_kube_config
    from kubernetes.aio.config.kube_config import list_kube_config_contexts

__all__ = ["ConfigException", "Configuration", "list_kube_config_contexts", "load_incluster_config", "load_kube_config"]


def _write_in_memory(content: str | bytes, *_: object) -> str:
    """Give the path of a file that lies in memory, for as long as the process runs."""
    descriptor = os.memfd_create("kubeconfig")
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return f"/proc/self/fd/{descriptor}"


if hasattr(os, "memfd_create"):  # Linux
    # What a kubeconfig holds itself, certificates and private keys, is only read from files. The package writes these
    # to /tmp, where they stay if the process is killed.
    kube_config._create_temp_file_with_content = _write_in_memory  # noqa: SLF001 - there is no other way in
