"""What the node's processes tell whoever started them: a JSON object a line.

`step`: what is being done now. `inside`: the namespaces are there. `ready`: the node takes pods. `failed`: why it
can't. `ended`: a program that ended by itself, with its exit code and the last lines of its log.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def say(**message: object) -> None:
    """Write a message to standard output."""
    print(json.dumps(message), flush=True)


def listen(stream: IO[str]) -> Iterator[dict[str, Any]]:
    """Give each message until the stream ends."""
    for line in stream:
        yield json.loads(line)
