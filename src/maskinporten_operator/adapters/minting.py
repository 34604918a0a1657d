"""The program that mints RSA keys, in a process of its own and of low priority.

A line with a number comes in by standard input, and a line with that many keys, each a list of its members, goes out by
standard output, before the next one comes in. With a `!` after the number somebody waits for them; a `!` alone says so
of the keys that are being made. Two pipes are all it takes: neither shared memory nor a directory for temporary files,
which a pod may not have.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import astuple
from functools import partial
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import rsa
from jose.utils import base64url_encode

from maskinporten_operator.model.jwk import RsaKey

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_SIZE = 2048
HURRY = "!"
NICE_IN_A_HURRY = 5
"""Of what somebody waits for: it gives way to the operator's own work, and isn't starved by others'."""
NICE = 19
"""Of what nobody waits for: it gives way to all, and yet it ends. SCHED_IDLE may keep it without end on a full machine,
and a thread that has the interpreter then holds up those in a hurry."""


def main() -> None:
    """Mint what is asked for until standard input ends, as it does when the parent has ended."""
    # Ctrl-C goes to the whole process group; the operator ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = Orders(_answer)
    hands = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threading.Thread(target=orders.work, args=(partial(_set_nice, NICE),), daemon=True).start()
    for _ in range(hands):
        begin = partial(_set_nice, NICE_IN_A_HURRY)
        threading.Thread(target=orders.work_in_a_hurry, args=(begin, hands), daemon=True).start()
    for line in sys.stdin:
        orders.take(line.strip())
    os._exit(0)  # whatever the threads are at


class Orders:
    """What is asked for, and the keys that are made of it: by one thread, or by one for each core in a hurry.

    OpenSSL makes a key without holding up the other threads.
    """

    def __init__(self, answer: Callable[[list[RsaKey]], None], mint: Callable[[], RsaKey] | None = None) -> None:
        """`answer` is given the keys of an order once all are made."""
        self._answer = answer
        self._mint = mint or mint_key
        self._changed = threading.Condition()
        self._wanted = 0
        self._hurry = False
        self._made: list[RsaKey] = []
        self._in_hand = 0  # of those in a hurry: what was begun without may take long

    def take(self, line: str) -> None:
        """Take in an order, or that somebody waits for what it asked for."""
        with self._changed:
            if line != HURRY:
                self._wanted = int(line.removesuffix(HURRY))
            self._hurry = line.endswith(HURRY)
            self._deliver()
            self._changed.notify_all()

    def work(self, begin: Callable[[], None]) -> None:
        """Mint when something is wanted that nobody waits for; `begin` sets the thread's priority."""
        begin()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._hurry and self._wanted > len(self._made))
            self._add(self._mint())

    def work_in_a_hurry(self, begin: Callable[[], None], spare: int) -> None:
        """Mint while somebody waits, and so many to spare: none shall rest until the next order comes."""
        begin()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._hurry and self._wanted + spare > len(self._made) + self._in_hand)
                self._in_hand += 1
            key = self._mint()
            with self._changed:
                self._in_hand -= 1
            self._add(key)

    def _add(self, key: RsaKey) -> None:
        with self._changed:
            self._made.append(key)
            self._deliver()
            self._changed.notify_all()

    def _deliver(self) -> None:
        if self._wanted and len(self._made) >= self._wanted:
            count, self._wanted = self._wanted, 0
            keys, self._made = self._made[:count], self._made[count:]
            self._answer(keys)


def mint_key() -> RsaKey:
    """Make an RSA key."""
    private = rsa.generate_private_key(65537, KEY_SIZE).private_numbers()
    public = private.public_numbers
    numbers = (public.n, public.e, private.d, private.p, private.q, private.dmp1, private.dmq1, private.iqmp)
    return RsaKey(*map(_encode, numbers))


def _encode(number: int) -> str:
    return str(base64url_encode(number.to_bytes((number.bit_length() + 7) // 8)).decode())


def _answer(keys: list[RsaKey]) -> None:
    sys.stdout.write(json.dumps([astuple(key) for key in keys]) + "\n")
    sys.stdout.flush()


def _set_nice(nice: int) -> None:
    """Set this thread's priority, and no other's, as Linux has it."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


if __name__ == "__main__":
    main()
