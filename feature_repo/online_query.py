"""A prepared read, asked of libpq itself: psycopg's cursor takes about as long as PostgreSQL does to answer."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

import psycopg
from psycopg import pq

BYTEA, BYTEA_ARRAY = 17, 1001
"""Object ids of PostgreSQL's types."""
HEAD = struct.Struct(">iiIii")
LENGTH = struct.Struct(">i")

_prepared: WeakKeyDictionary[psycopg.Connection, set[bytes]] = WeakKeyDictionary()


def ask(connection: psycopg.Connection, statement: bytes, keys: Sequence[bytes]) -> bytes:
    """The one value that `statement` answers, in binary.

    Args:
        connection: in autocommit, and nobody else's meanwhile.
        statement: takes a bytea[] as $1. It stays prepared on the connection.

    Raises:
        psycopg.Error: as a cursor would; OperationalError where the connection is lost.
    """
    try:
        return _ask(connection, statement, keys)
    except psycopg.errors.InvalidSqlStatementName:  # psycopg, or a pooler between, deallocated all that was prepared
        _prepared[connection].clear()
        return _ask(connection, statement, keys)


def _ask(connection: psycopg.Connection, statement: bytes, keys: Sequence[bytes]) -> bytes:
    name = _name(statement)
    known = _prepared.setdefault(connection, set())
    if name not in known:
        _check(connection, connection.pgconn.prepare(name, statement, [BYTEA_ARRAY]))
        known.add(name)
    result = connection.pgconn.exec_prepared(name, [_array(keys)], [pq.Format.BINARY], pq.Format.BINARY)
    _check(connection, result)
    value = result.get_value(0, 0)
    assert value is not None, "the statement answers no null"
    return value


@lru_cache(maxsize=512)
def _name(statement: bytes) -> bytes:
    return b"packed_" + hashlib.sha256(statement).hexdigest()[:16].encode()


def _array(keys: Sequence[bytes]) -> bytes:
    """A bytea[] in binary: dimensions, nulls, type, size, lower bound; then each with its length."""
    if not keys:
        return struct.pack(">iiI", 0, 0, BYTEA)
    return HEAD.pack(1, 0, BYTEA, len(keys), 1) + b"".join([LENGTH.pack(len(key)) + key for key in keys])


def _check(connection: psycopg.Connection, result: pq.abc.PGresult) -> None:
    if result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
        return
    if connection.pgconn.status == pq.ConnStatus.BAD:
        raise psycopg.OperationalError(f"the connection was lost: {pq.error_message(result)}")
    raise psycopg.errors.error_from_result(result)
