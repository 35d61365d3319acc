"""Pools of connections to databases, for any module with Python's DB-API.

A pool limits how many connections there are, uses them again, rolls back what the last user left
open, and closes those that are too old or were idle for too long. `TpooledConnectionPool`, the
default, runs the database module in native threads (`eventlet.tpool`), so that other green threads
go on meanwhile; `RawConnectionPool` is for modules that are green themselves. Invariant: each
connection is in `free_items`, as (last use, creation, connection), or out in one wrapper, or closed.
"""

import contextlib
import sys
import traceback
import weakref
from collections import deque

from eventlet import greenthread, hubs, tpool
from eventlet.pools import Pool
from eventlet.support.db_wrappers import GenericConnectionWrapper, PooledConnectionWrapper
from eventlet.timeout import Timeout

__all__ = [
    "BaseConnectionPool",
    "ConnectTimeout",
    "ConnectionPool",
    "DatabaseConnector",
    "GenericConnectionWrapper",
    "PooledConnectionWrapper",
    "RawConnectionPool",
    "TpooledConnectionPool",
    "cleanup_rollback",
]

_MISSING = object()


class ConnectTimeout(Exception):
    """The database did not answer within *connect_timeout* seconds."""


def cleanup_rollback(conn):
    """Roll back what *conn* has not committed: what a pool does by default when it gets one back.

    *May switch: if the connection does.* Raises what the database module raises.

    >>> import sqlite3
    >>> conn = sqlite3.connect(":memory:")
    >>> cleanup_rollback(conn); conn.close()
    """
    conn.rollback()


class BaseConnectionPool(Pool):
    """A pool of connections; a subclass says in `create` how one is made.

    *db_module*: a DB-API module. *min_size*, *max_size*: of `Pool`. *max_idle*, *max_age*: seconds
    after which a connection that lies in the pool unused, or was made, is closed; 0 closes each as
    soon as it is put back. A connection that is out is never closed. *connect_timeout*: seconds to
    connect, None for any number; `ConnectTimeout` is raised after them. *cleanup*: called with each
    connection that is put back, None for nothing; if it raises, the connection is closed. All other
    arguments are for `db_module.connect`.

    >>> import sqlite3
    >>> pool = RawConnectionPool(sqlite3, database=":memory:")
    >>> with pool.item() as conn:
    ...     conn.execute("select 1").fetchone()
    (1,)
    >>> pool.clear()
    """

    def __init__(
        self,
        db_module,
        min_size=0,
        max_size=4,
        max_idle=10,
        max_age=30,
        connect_timeout=5,
        cleanup=cleanup_rollback,
        *args,
        **kwargs,
    ):
        assert db_module, "a database module is required"
        self._db_module = db_module
        self._args = args
        self._kwargs = kwargs
        self.max_idle = max_idle
        self.max_age = max_age
        self.connect_timeout = connect_timeout
        self.cleanup = cleanup
        self._expiration_timer = None
        self._expires_at = 0
        super().__init__(min_size=min_size, max_size=max_size, order_as_stack=True)
        self._schedule_expiration()

    def get(self):
        """Return a connection, in a `PooledConnectionWrapper`. *May switch: yes.*

        Waits while *max_size* are out. Raises what connecting raises, `ConnectTimeout` among it.

        >>> import sqlite3
        >>> pool = RawConnectionPool(sqlite3, database=":memory:")
        >>> conn = pool.get()
        >>> conn.close(), bool(conn), pool.free()
        (None, False, 4)
        >>> pool.clear()
        """
        self._expire_old_connections(_now())
        _, created_at, conn = _parts(super().get())
        return PooledConnectionWrapper(conn, self, created_at)

    def put(self, conn, cleanup=_MISSING):
        """Give *conn* back; its wrapper is of no more use. *May switch: if the connection does.*

        *conn* None stands for one that is lost: another can be made. *cleanup*: instead of the
        pool's. Nothing happens if it was given back before.

        >>> import sqlite3
        >>> pool = RawConnectionPool(sqlite3, database=":memory:")
        >>> pool.put(pool.get(), cleanup=None)
        >>> pool.clear()
        """
        created_at, base = _now(), conn
        if isinstance(conn, PooledConnectionWrapper):
            if conn._base is None:
                return
            created_at, base = conn._created_at, conn._base
            conn._destroy()
        elif isinstance(conn, GenericConnectionWrapper):
            base = self._unwrap_connection(conn)
        good = False
        try:
            good = self._clean(base, created_at, self.cleanup if cleanup is _MISSING else cleanup)
        finally:
            if good and self.current_size <= self.max_size:
                super().put((_now(), created_at, base))
                self._schedule_expiration()
            else:
                self.current_size -= 1
                self._offer()
                self._safe_close(base, quiet=True)

    def _clean(self, base, created_at, cleanup):
        # Whether the connection can be used again, after it was cleaned.
        if base is None or self._is_expired(_now(), _now(), created_at):
            return False
        if cleanup:
            try:
                cleanup(base)
            except Exception as error:
                print(f"db_pool: cleanup {cleanup} raised {error!r}", file=sys.stderr)
                return False
        return True

    @contextlib.contextmanager
    def item(self, cleanup=_MISSING):
        """Return a context manager that gets a connection and puts it back.

        *cleanup*: instead of the pool's. *May switch: on entry and at the end.*

        >>> import sqlite3
        >>> pool = RawConnectionPool(sqlite3, database=":memory:")
        >>> with pool.item(cleanup=None) as conn:
        ...     _ = conn.execute("create table cups (size)")
        >>> pool.clear()
        """
        conn = self.get()
        try:
            yield conn
        finally:
            self.put(conn, cleanup=cleanup)

    def clear(self):
        """Close the connections that are in the pool. *May switch: if the connections do.*

        >>> import sqlite3
        >>> pool = RawConnectionPool(sqlite3, min_size=2, database=":memory:")
        >>> pool.clear(); pool.current_size
        0
        """
        self._stop_expiration()
        free, self.free_items = self.free_items, deque()
        for item in free:
            self._drop(item)

    def _drop(self, item):
        # Closes one that was taken out of the free ones.
        try:
            self._safe_close(_parts(item)[2], quiet=True)
        finally:
            self.current_size -= 1
            self._offer()

    def _is_expired(self, now, last_used, created_at):
        if self.max_idle <= 0 or self.max_age <= 0:
            return True
        return last_used + self.max_idle <= now or created_at + self.max_age <= now

    def _expire_old_connections(self, now):
        """Close those in the pool that are idle or old at *now* (by the hub's clock). *May switch.*"""
        expired = []
        for item in list(self.free_items):
            last_used, created_at, _ = _parts(item)
            if self._is_expired(now, last_used, created_at):
                self.free_items.remove(item)
                expired.append(item)
        for item in expired:
            self._drop(item)

    def _schedule_expiration(self):
        # Sees to it that somebody looks when the next one in the pool has to be closed.
        if not self.free_items:
            self._stop_expiration()
            return
        parts = [_parts(item) for item in self.free_items]
        due = min(min(used + self.max_idle, made + self.max_age) for used, made, _ in parts)
        if self._expiration_timer is not None and self._expires_at <= due:
            return
        self._stop_expiration()
        self._expires_at = due
        delay = max(0, due - _now())
        self._expiration_timer = greenthread.spawn_after(delay, _expire, weakref.ref(self))

    def _stop_expiration(self):
        timer, self._expiration_timer = self._expiration_timer, None
        if timer is not None:
            timer.cancel()

    def _unwrap_connection(self, conn):
        # What a wrapper wraps; None for what is none.
        return getattr(conn, "_base", None)

    def _safe_close(self, conn, quiet=False):
        """Close *conn*, whatever it is; an error is printed unless *quiet*. *May switch.*"""
        try:
            conn.close()
        except AttributeError:
            pass  # None, or no connection
        except Exception:
            if not quiet:
                traceback.print_exc()


def _now():
    return hubs.get_hub().clock()


def _parts(item):
    # A subclass's create() may return the connection alone.
    if isinstance(item, tuple) and len(item) == 3:
        return item
    now = _now()
    return now, now, item


def _expire(pool):
    pool = pool()
    if pool is not None:
        pool._expiration_timer = None
        pool._expire_old_connections(_now())
        pool._schedule_expiration()


class TpooledConnectionPool(BaseConnectionPool):
    """A pool whose connections work in native threads, so that they block no other green thread.

    >>> import sqlite3
    >>> pool = TpooledConnectionPool(sqlite3, database=":memory:", check_same_thread=False)
    >>> with pool.item() as conn:
    ...     conn.cursor().execute("select 2").fetchone()
    (2,)
    >>> pool.clear()
    """

    def create(self):
        """Return a new connection, with the times of its last use and creation. *May switch: yes.*"""
        now = _now()
        conn = self.connect(self._db_module, self.connect_timeout, *self._args, **self._kwargs)
        return now, now, conn

    @classmethod
    def connect(cls, db_module, connect_timeout, *args, **kw):
        """Return `db_module.connect(*args, **kw)`, made and used in native threads. *May switch: yes.*

        Raises `ConnectTimeout` after *connect_timeout* seconds (None: never).
        """
        with Timeout(connect_timeout, ConnectTimeout()):
            conn = tpool.execute(db_module.connect, *args, **kw)
            return tpool.Proxy(conn, autowrap_names=("cursor",))


class RawConnectionPool(BaseConnectionPool):
    """A pool for database modules that are green: their calls are made in the calling green thread.

    >>> import sqlite3
    >>> RawConnectionPool(sqlite3, database=":memory:").free()
    4
    """

    def create(self):
        """Return a new connection, with the times of its last use and creation. *May switch: yes.*"""
        now = _now()
        conn = self.connect(self._db_module, self.connect_timeout, *self._args, **self._kwargs)
        return now, now, conn

    @classmethod
    def connect(cls, db_module, connect_timeout, *args, **kw):
        """Return `db_module.connect(*args, **kw)`. *May switch: if the module is green.*

        Raises `ConnectTimeout` after *connect_timeout* seconds (None: never).
        """
        with Timeout(connect_timeout, ConnectTimeout()):
            return db_module.connect(*args, **kw)


#: The default for real databases.
ConnectionPool = TpooledConnectionPool


class DatabaseConnector:
    """A pool of connections for each pair of host and database that is asked for.

    *module*: a DB-API module. *credentials*: a mapping of host names to dictionaries of arguments
    for `module.connect`; that of the name 'default' serves hosts that have none. *conn_pool*: class
    of the pools, None for `ConnectionPool`. All other arguments are for it.

    >>> import sqlite3
    >>> class Module:
    ...     connect = staticmethod(lambda host, db, user: (host, db, user))
    >>> connector = DatabaseConnector(Module, {"default": {"user": "me"}}, RawConnectionPool)
    >>> connector.get("example.com", "cups").create()[2]
    ('example.com', 'cups', 'me')
    """

    def __init__(self, module, credentials, conn_pool=None, *args, **kwargs):
        assert module, "a database module is required"
        self._conn_pool_class = ConnectionPool if conn_pool is None else conn_pool
        self._module = module
        self._args = args
        self._kwargs = kwargs
        # Looked up at each new host, so that a mapping may learn of hosts later.
        self._credentials = credentials
        self._databases = {}

    def credentials_for(self, host):
        """Return the arguments to connect to *host* with, or the default ones, or None. *May switch: no.*

        >>> DatabaseConnector("module", {"here": {"user": "me"}}).credentials_for("there")
        """
        if host in self._credentials:
            return self._credentials[host]
        return self._credentials.get("default", None)

    def get(self, host, dbname):
        """Return the pool for database *dbname* at *host*, the same one each time. *May switch: no.*

        Raises TypeError if there are no credentials for the host.
        """
        key = (host, dbname)
        if key not in self._databases:
            credentials = self.credentials_for(host)
            if credentials is None:
                raise TypeError(f"no credentials for {host!r}, and no default ones")
            arguments = {**self._kwargs, "db": dbname, "host": host, **credentials}
            pool = self._conn_pool_class(self._module, *self._args, **arguments)
            self._databases[key] = pool
        return self._databases[key]
