"""The program that mints RSA keys, in a process of its own and of low priority.

A line with a number comes in by standard input, and a line with that many keys, each a list of its members, goes out by
standard output. Two pipes are all it takes: neither shared memory nor a directory for temporary files, which a pod may
not have.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from dataclasses import astuple

from cryptography.hazmat.primitives.asymmetric import rsa
from jose.utils import base64url_encode

from maskinporten_operator.model.jwk import RsaKey

KEY_SIZE = 2048


def main() -> None:
    """Mint what is asked for until standard input ends, as it does when the parent has ended."""
    _give_way()
    # Ctrl-C goes to the whole process group; the operator ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wanted: queue.SimpleQueue[int] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(wanted,), daemon=True).start()
    while True:
        keys = [astuple(mint_key()) for _ in range(wanted.get())]
        sys.stdout.write(json.dumps(keys) + "\n")
        sys.stdout.flush()


def mint_key() -> RsaKey:
    """Make an RSA key."""
    private = rsa.generate_private_key(65537, KEY_SIZE).private_numbers()
    public = private.public_numbers
    numbers = (public.n, public.e, private.d, private.p, private.q, private.dmp1, private.dmq1, private.iqmp)
    return RsaKey(*map(_encode, numbers))


def _encode(number: int) -> str:
    return str(base64url_encode(number.to_bytes((number.bit_length() + 7) // 8)).decode())


def _read(wanted: queue.SimpleQueue[int]) -> None:
    """Take in what is asked for; in a thread, so that the parent's end is noticed in the middle of minting."""
    for line in sys.stdin:
        wanted.put(int(line))
    os._exit(0)


def _give_way() -> None:
    # Below everything else: keys are made of idle time. Where that isn't allowed, nice comes nearest.
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):
        os.nice(19)


if __name__ == "__main__":
    main()
