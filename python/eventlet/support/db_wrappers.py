"""What stands for a database connection while it is out of its pool (`eventlet.db_pool`).

Invariant: a wrapper that was given back refers to no connection, so that nothing can be done to one
that somebody else has by then.
"""

__all__ = ["GenericConnectionWrapper", "PooledConnectionWrapper"]


class GenericConnectionWrapper:
    """Stands for a connection: what it does not have itself, the connection `_base` has.

    >>> import sqlite3
    >>> wrapped = GenericConnectionWrapper(sqlite3.connect(":memory:"))
    >>> wrapped.execute("select 3").fetchone()
    (3,)
    >>> wrapped.close()
    """

    def __init__(self, baseconn):
        object.__setattr__(self, "_base", baseconn)

    def __getattr__(self, name):
        if name.startswith("__") or name == "_base":
            raise AttributeError(name)
        return getattr(self._base, name)

    def __setattr__(self, name, value):
        # A connection has settings of its own, such as sqlite3's row_factory.
        if hasattr(type(self), name) or not hasattr(self._base, name):
            object.__setattr__(self, name, value)
        else:
            setattr(self._base, name, value)

    def __repr__(self):
        return repr(self._base)


def _forward(name):
    # A property: what is a method of one module's connections is a setting of another's (autocommit).
    return property(
        lambda self: getattr(self._base, name),
        lambda self, value: setattr(self._base, name, value),
        doc=f"`{name}` of the connection.",
    )


# Names that the class has whatever the connection has: of DB-API, MySQLdb and psycopg2.
for _name in (
    *("__enter__", "__exit__", "affected_rows", "autocommit", "begin", "change_user"),
    *("character_set_name", "close", "commit", "cursor", "dump_debug_info", "errno", "error"),
    *("errorhandler", "insert_id", "literal", "ping", "query", "rollback", "select_db"),
    *("server_capabilities", "set_character_set", "set_isolation_level", "set_server_option"),
    *("set_sql_mode", "show_warnings", "shutdown", "sqlstate", "stat", "store_result"),
    *("string_literal", "thread_id", "use_result", "warning_count"),
):
    setattr(GenericConnectionWrapper, _name, _forward(_name))


class PooledConnectionWrapper(GenericConnectionWrapper):
    """A connection that is out of its pool: `close` gives it back, and the wrapper is false then.

    Once it has been given back, its methods raise AttributeError.
    """

    def __init__(self, baseconn, pool, created_at=0):
        super().__init__(baseconn)
        object.__setattr__(self, "_pool", pool)
        object.__setattr__(self, "_created_at", created_at)

    def __bool__(self):
        return self._base is not None

    def close(self):
        """Give the connection back to its pool; nothing if that was done. *May switch: yes.*"""
        if self._base is not None and self._pool is not None:
            self._pool.put(self)

    def _destroy(self):
        object.__setattr__(self, "_pool", None)
        object.__setattr__(self, "_base", None)
