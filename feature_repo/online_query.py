"""Prepared statements, asked of libpq itself: psycopg's cursor takes about as long as PostgreSQL does to answer."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import psycopg
from psycopg import pq

BYTEA, BIGINT, TEXT, BYTEA_ARRAY, BIGINT_ARRAY = 17, 20, 25, 1001, 1016
"""Object ids of PostgreSQL's types."""
HEAD = struct.Struct(">iiIii")
LENGTH = struct.Struct(">i")

_prepared: WeakKeyDictionary[psycopg.Connection, set[bytes]] = WeakKeyDictionary()


class Parameter(NamedTuple):
    """A parameter of a statement in PostgreSQL's binary format."""

    kind: int
    data: bytes


def execute(connection: psycopg.Connection, statement: bytes, parameters: Sequence[Parameter]) -> bytes | None:
    """Run a statement with parameters $1, $2, …; its first value in binary, if it answers any row.

    Args:
        connection: nobody else's meanwhile. The statement stays prepared on it, unless it is in a transaction.

    Raises:
        psycopg.Error: as a cursor would; OperationalError where the connection is lost.
    """
    try:
        return _execute(connection, statement, parameters)
    except psycopg.errors.InvalidSqlStatementName:  # psycopg, or a pooler between, deallocated all that was prepared
        _prepared[connection].clear()
        return _execute(connection, statement, parameters)


def _execute(connection: psycopg.Connection, statement: bytes, parameters: Sequence[Parameter]) -> bytes | None:
    kinds, values = [kind for kind, _ in parameters], [data for _, data in parameters]
    formats, server = [pq.Format.BINARY] * len(parameters), connection.pgconn
    if server.transaction_status != pq.TransactionStatus.IDLE:  # where a statement that is gone would be the end of all
        result = server.exec_params(statement, values, kinds, formats, pq.Format.BINARY)
    else:
        name = _name(statement)
        known = _prepared.setdefault(connection, set())
        if name not in known:
            _check(connection, server.prepare(name, statement, kinds))
            known.add(name)
        result = server.exec_prepared(name, values, formats, pq.Format.BINARY)
    _check(connection, result)
    return result.get_value(0, 0) if result.ntuples else None


def text(value: str) -> Parameter:
    """A text. Raises ValueError on a NUL, which PostgreSQL's text cannot hold."""
    if "\0" in value:
        raise ValueError(f"{value!r} holds a NUL, which PostgreSQL cannot store in a text")
    return Parameter(TEXT, value.encode())


def byteas(values: Sequence[bytes]) -> Parameter:
    """A bytea[]: dimensions, nulls, type, size, lower bound; then each with its length."""
    if not values:
        return Parameter(BYTEA_ARRAY, struct.pack(">iiI", 0, 0, BYTEA))
    body = b"".join([LENGTH.pack(len(value)) + value for value in values])
    return Parameter(BYTEA_ARRAY, HEAD.pack(1, 0, BYTEA, len(values), 1) + body)


def bigints(values: Sequence[int]) -> Parameter:
    """A bigint[] of at least one number."""
    cells = np.empty(len(values), [("length", ">i4"), ("value", ">i8")])
    cells["length"], cells["value"] = 8, values
    return Parameter(BIGINT_ARRAY, HEAD.pack(1, 0, BIGINT, len(values), 1) + cells.tobytes())


@lru_cache(maxsize=512)
def _name(statement: bytes) -> bytes:
    return b"packed_" + hashlib.sha256(statement).hexdigest()[:16].encode()


def _check(connection: psycopg.Connection, result: pq.abc.PGresult) -> None:
    if result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
        return
    if connection.pgconn.status == pq.ConnStatus.BAD:
        raise psycopg.OperationalError(f"the connection was lost: {pq.error_message(result)}")
    raise psycopg.errors.error_from_result(result)
