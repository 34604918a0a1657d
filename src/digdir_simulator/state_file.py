"""The state in a file, for a simulator that is to know after a restart what it knew before.

The file is an SQLite database with one table, of JSON documents by kind and key. It is read once, at
the start; from then on it follows the state in memory.
"""

import asyncio
import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from digdir_simulator.seed import client_document, scope_document
from digdir_simulator.state import (
    SINCE_ALWAYS,
    Access,
    Client,
    Delegation,
    DelegationSource,
    Key,
    Record,
    Scope,
    State,
)

VERSION = 1
"""Version of the documents, in the database's ``user_version``."""

APPLICATION_ID = 0x44444753
"""Tells the file from other databases, in its ``application_id``."""

LOCK_SECONDS = 2.0
"""How long to wait for a predecessor that is about to end."""

_log = logging.getLogger(__name__)

Place = tuple[str, str]
"""Kind and key."""


class StateFileError(Exception):
    """The file can't be read or written; the text says why and names it."""


class StateFile:
    """A state file, held by one simulator alone until it is closed.

    A transaction is on the disk when `write` returns, and outlives a power cut too: ``synchronous`` is FULL.
    With the write-ahead log that is a single fsync, which `Journal` lets many calls share. Under NORMAL, the
    other choice that the log has, a commit would outlive the process only. Because the lock is exclusive, the
    log needs no memory shared between processes, which network volumes don't offer.
    """

    def __init__(self, path: Path) -> None:
        """Open the file at `path`, or make it.

        Raises:
            StateFileError: it can't be written, is in use, or isn't a state file of this version.
        """
        self._path = path
        try:
            self._connection = sqlite3.connect(
                path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._error(error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._connection.close()
            raise self._error(error) from error
        except StateFileError:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        application, version, tables = (
            execute(question).fetchone()[0]
            for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if tables and application != APPLICATION_ID:
            raise StateFileError(f"{self._path}: it is a database, but not a state file")
        if tables and version != VERSION:
            raise StateFileError(
                f"{self._path}: it was written by another version of digdir-simulator (form {version}, this one's is "
                f"{VERSION}); use that version, or begin anew with another file"
            )
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        # Takes the lock, and shows whether the file can be written
        with self._connection:
            execute("BEGIN EXCLUSIVE")
            execute(f"PRAGMA application_id = {APPLICATION_ID}")
            execute(f"PRAGMA user_version = {VERSION}")
            execute(
                "CREATE TABLE IF NOT EXISTS record"
                " (kind TEXT NOT NULL, key TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (kind, key))"
            )

    def _error(self, error: Exception) -> StateFileError:
        reasons = {
            "database is locked": "it is in use by another simulator",
            "file is not a database": "it isn't a state file",
            "unable to open database file": "it can't be opened; is its folder there, and writable?",
        }
        return StateFileError(f"{self._path}: {reasons.get(str(error), str(error))}")

    def read(self) -> State | None:
        """Return the state in the file, None if it is empty.

        Raises:
            StateFileError: the file is damaged.
        """
        try:
            rows = self._connection.execute("SELECT kind, document FROM record ORDER BY rowid").fetchall()
            return _parse_state([(kind, json.loads(document)) for kind, document in rows]) if rows else None
        except sqlite3.Error as error:
            raise self._error(error) from error
        except (ValueError, LookupError, TypeError) as error:
            raise StateFileError(f"{self._path}: it is damaged: {error!r}") from error

    def write(self, documents: Mapping[Place, str], *, anew: bool) -> None:
        """Write documents over those in their places, or `anew` over all that there are, in one transaction.

        Raises:
            StateFileError: they can't be written, and none is.
        """
        try:
            with self._connection:
                self._connection.execute("BEGIN")
                if anew:
                    self._connection.execute("DELETE FROM record")
                # An update keeps the place in the order
                self._connection.executemany(
                    "INSERT INTO record VALUES (?, ?, ?)"
                    " ON CONFLICT (kind, key) DO UPDATE SET document = excluded.document",
                    [(*place, document) for place, document in documents.items()],
                )
        except sqlite3.Error as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


class Journal:
    """Brings what changes in a state to its file.

    A call waits with its answer for `written`. Calls that come while a transaction is written share the next one.
    """

    def __init__(self, file: StateFile) -> None:
        """Write to `file`."""
        self._file = file
        self._documents: dict[Place, str] = {}
        self._anew = False
        self._noted = 0
        self._written = 0
        self._writing: asyncio.Task[None] | None = None

    def follow(self, state: State) -> None:
        """Note every record that is put into `state` from now on."""
        state.on_put = self.note

    def note(self, record: Record) -> None:
        """Note that `record` is new, or took the place of another."""
        place, document = _entry(record)
        self._documents[place] = document
        self._noted += 1

    def replace(self, state: State) -> None:
        """Note that `state` took the place of all that was, and follow it."""
        self._documents = dict(_entries(state))
        self._anew = True
        self._noted += 1
        self.follow(state)

    async def written(self) -> None:
        """Return when everything noted so far is in the file.

        Raises:
            StateFileError: it can't be written; the next call tries again.
        """
        wanted = self._noted
        while self._written < wanted:
            if self._writing is None or self._writing.done():
                self._writing = asyncio.create_task(self._write())
            # One who waits may be cancelled; the write is for all who do
            await asyncio.shield(self._writing)

    async def _write(self) -> None:
        noted, documents, anew = self._noted, self._documents, self._anew
        self._documents, self._anew = {}, False
        try:
            await asyncio.to_thread(self._file.write, documents, anew=anew)
        except BaseException as error:
            # If it was written all the same, writing it again does no harm
            if not self._anew:
                self._documents, self._anew = documents | self._documents, anew
            if isinstance(error, StateFileError):
                _log.error("%s; the calls are answered with 503 until it can be written", error)
            raise
        self._written = noted

    async def close(self) -> None:
        """Write what is noted, and close the file.

        Raises:
            StateFileError: it can't be written; the file is closed all the same.
        """
        try:
            await self.written()
        finally:
            self._file.close()


def _entries(state: State) -> Iterator[tuple[Place, str]]:
    organisation = {
        "organisation": state.organisation,
        "prefixes": state.prefixes,
        "names": state.names,
        "since": state.since,
        "delegation_sources": [asdict(source) for source in state.delegation_sources],
    }
    yield ("organisation", ""), json.dumps(organisation)
    yield from map(_entry, state.records())


def _entry(record: Record) -> tuple[Place, str]:
    match record:
        case Client():
            return ("client", json.dumps(record.client_id)), json.dumps(client_document(record))
        case Scope():
            return ("scope", json.dumps(record.name)), json.dumps(scope_document(record))
        case Access():
            key = [record.scope, record.consumer_orgno]
            return ("access", json.dumps(key)), json.dumps(asdict(record))
        case Delegation():
            document = json.dumps(asdict(record))
            return ("delegation", document), document


def _parse_state(documents: list[tuple[str, dict[str, Any]]]) -> State:
    (organisation,) = (document for kind, document in documents if kind == "organisation")
    state = State(
        organisation["organisation"],
        tuple(organisation["prefixes"]),
        organisation["names"],
        organisation["since"],
        delegation_sources=tuple(DelegationSource(**source) for source in organisation["delegation_sources"]),
    )
    for kind, document in documents:
        match kind:
            case "client":
                state.put_client(_parse_client(document), SINCE_ALWAYS)
            case "scope":
                types = tuple(document.pop("allowed_integration_types"))
                state.put_scope(Scope(**document, allowed_integration_types=types), SINCE_ALWAYS)
            case "access":
                state.put_access(Access(**document), SINCE_ALWAYS)
            case "delegation":
                state.delegations.add(Delegation(**document))
    return state


def _parse_client(document: dict[str, Any]) -> Client:
    keys = [
        Key(exp=jwk.pop("exp"), created=jwk.pop("created"), last_updated=jwk.pop("last_updated"), jwk=jwk)
        for jwk in document.pop("keys")
    ]
    apart = {name: document.pop(name) for name in ("client_id", "client_orgno", "active", "created", "last_updated")}
    return Client(**apart, fields=document, keys=tuple(keys))
