"""How commands end when something fails: a line on standard error and an exit code."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from maskinporten_operator.adapters.cluster.api import ClusterUnknownError
from maskinporten_operator.adapters.digdir.credentials import CredentialsError
from maskinporten_operator.assembly.followed_passes import TracingUnavailableError
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.runtime.elector import LeaseLostError
from maskinporten_operator.runtime.faults import FaultError
from maskinporten_operator.runtime.health import AddressError

if TYPE_CHECKING:
    from collections.abc import Iterator

HINTS = {
    Reason.CLUSTER_UNAVAILABLE: "Check KUBECONFIG, and the way to the API server that it names.",
    Reason.DIGDIR_UNAVAILABLE: "`maskinporten-operator doctor` says which address it is, and who can fix it.",
}
"""By why a command couldn't do its work, where to look."""


@contextmanager
def explain_failures() -> Iterator[None]:
    """Exit with 2 if the configuration can't be used after all, with 1 if an API failed or another replica leads."""
    try:
        yield
    except (AddressError, ClusterUnknownError, CredentialsError, TracingUnavailableError) as error:
        click.echo(f"Error: the configuration can't be used:\n  {error}", err=True)
        sys.exit(2)
    except LeaseLostError as error:
        click.echo(f"Error: {error}: another replica may lead by now, so this one ends", err=True)
        sys.exit(1)
    except (OperatorError, FaultError) as error:
        hint = HINTS.get(error.reason) if isinstance(error, OperatorError) else None
        click.echo(f"Error: {error}" + (f"\n  {hint}" if hint else ""), err=True)
        sys.exit(1)
