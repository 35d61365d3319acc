"""`eventlet.db_pool`, with sqlite3 and with connections made up to misbehave."""

import gc
import sqlite3
import threading
import weakref

import eventlet
import pytest
from eventlet import db_pool
from eventlet.db_pool import (
    BaseConnectionPool,
    ConnectTimeout,
    DatabaseConnector,
    GenericConnectionWrapper,
    PooledConnectionWrapper,
    RawConnectionPool,
    TpooledConnectionPool,
)


class Connection:
    def __init__(self, log, **arguments):
        self.log, self.arguments, self.closed = log, arguments, False
        self.setting = None

    def cursor(self):
        return "cursor"

    def rollback(self):
        self.log.append("rollback")

    def close(self):
        assert not self.closed
        self.closed = True
        self.log.append("close")


class Module:
    """A database module whose connections say what is done to them."""

    def __init__(self):
        self.log, self.made, self.error, self.before = [], [], None, None

    def connect(self, **arguments):
        if self.before:
            self.before()
        if self.error:
            raise self.error
        self.made.append(Connection(self.log, **arguments))
        return self.made[-1]


@pytest.fixture
def module():
    return Module()


@pytest.fixture
def make(module):
    pools = []

    def make(kind=RawConnectionPool, **options):
        pools.append(kind(module, **options))
        return pools[-1]

    yield make
    for pool in pools:
        pool.clear()


@pytest.fixture
def clock(monkeypatch):
    """The pools' clock, set by hand."""
    now = [100.0]
    monkeypatch.setattr(db_pool, "_now", lambda: now[0])
    return now


def turns(count=3):
    for _ in range(count):
        eventlet.sleep(0)


def sqlite(kind, path, **options):
    options.setdefault("check_same_thread", False)
    return kind(sqlite3, database=str(path), **options)


@pytest.mark.parametrize("kind", [RawConnectionPool, TpooledConnectionPool])
def test_sqlite(kind, tmp_path):
    pool = sqlite(kind, tmp_path / "cups.db", max_size=2)
    conn, other = pool.get(), pool.get()
    cursor = conn.cursor()
    cursor.execute("create table cups (size integer)")
    conn.commit()
    cursor.executemany("insert into cups values (?)", [(1,), (2,)])
    conn.commit()
    cursor.execute("insert into cups values (3)")
    cursor.close()
    conn.close()  # without a commit
    assert (pool.free(), bool(conn), bool(other)) == (1, False, True)
    again = pool.get()
    rows = again.cursor().execute("select size from cups").fetchall()
    assert rows == [(1,), (2,)], "what was not committed was rolled back"
    with pytest.raises(sqlite3.OperationalError):
        other.cursor().execute("garbage")
    pool.put(again)
    pool.put(other)
    assert (pool.current_size, len(pool.free_items)) == (2, 2)
    pool.clear()
    assert (pool.current_size, len(pool.free_items), pool.free()) == (0, 0, 2)


def test_tpooled_calls_block_nobody(make, module):
    go_on = threading.Event()
    pool = make(TpooledConnectionPool)
    conn = pool.get()
    module.made[0].cursor = lambda: go_on.wait(10)
    thread = eventlet.spawn(lambda: conn.cursor())
    turns()
    assert not thread.dead
    go_on.set()
    thread.wait()
    conn.close()


def test_defaults_and_arguments(make, module):
    pool = make(database="cups", user="me")
    assert (pool.min_size, pool.max_size, pool.max_idle, pool.max_age) == (0, 4, 10, 30)
    assert (pool.connect_timeout, pool.cleanup) == (5, db_pool.cleanup_rollback)
    pool.get().close()
    assert module.made[0].arguments == {"database": "cups", "user": "me"}
    assert db_pool.ConnectionPool is TpooledConnectionPool
    with pytest.raises(AssertionError, match="a database module is required"):
        RawConnectionPool(None)
    with pytest.raises(NotImplementedError):
        BaseConnectionPool(module).get()


def test_min_size_connects_at_once(make, module):
    pool = make(min_size=2)
    assert (len(module.made), pool.current_size) == (2, 2)
    assert pool.get()._base in module.made


def test_the_last_one_put_back_is_the_next_one_out(make, module):
    pool = make()
    first, second = pool.get(), pool.get()
    bases = first._base, second._base
    second.close()
    first.close()
    assert pool.get()._base is bases[0]


def test_a_wrapper_that_was_given_back_is_of_no_use(make, module):
    pool = make(max_size=1)
    conn = pool.get()
    base = conn._base
    assert conn and isinstance(conn, PooledConnectionWrapper) and conn.cursor() == "cursor"
    conn.close()
    for name in ("cursor", "commit", "no_such_name"):
        with pytest.raises(AttributeError):
            getattr(conn, name)
    # nor does it do harm
    conn.close()
    pool.put(conn)
    assert (pool.free(), pool.current_size, len(pool.free_items)) == (1, 1, 1)
    again = pool.get()
    assert again._base is base
    pool.put(again)


def test_wrapper_passes_on(make, module):
    conn = make().get()
    conn.setting = 1
    assert (conn._base.setting, conn.setting) == (1, 1)
    conn.own = 2
    assert not hasattr(conn._base, "own")
    conn._base.autocommit = False
    conn.autocommit = True
    assert (conn._base.autocommit, conn.autocommit) == (True, True)
    assert repr(conn) == repr(conn._base)
    plain = GenericConnectionWrapper(conn._base)
    assert plain.cursor() == "cursor" and plain
    names = """__enter__ __exit__ affected_rows autocommit begin change_user character_set_name close
        commit cursor dump_debug_info errno error errorhandler insert_id literal ping query rollback
        select_db server_capabilities set_character_set set_isolation_level set_server_option
        set_sql_mode show_warnings shutdown sqlstate stat store_result string_literal thread_id
        use_result warning_count""".split()
    assert [name for name in names if not hasattr(GenericConnectionWrapper, name)] == []
    with pytest.raises(AttributeError):
        plain.no_such_name  # noqa: B018
    base = sqlite3.connect(":memory:")
    with GenericConnectionWrapper(base) as entered:
        assert entered is base
    base.close()


def test_put_none_makes_room(make, module):
    pool = make(max_size=1)
    pool.get()
    pool.put(None)
    assert (pool.free(), pool.current_size) == (1, 0)
    assert pool.get()


def test_connections_that_fail_to_clean_up_are_closed(make, module, capsys):
    pool = make(max_size=1)

    def wrong(conn):
        raise OSError("gone")

    pool.put(pool.get(), cleanup=wrong)
    assert (pool.free(), pool.current_size, module.made[0].closed) == (1, 0, True)
    assert "raised OSError('gone')" in capsys.readouterr().err
    with pool.item(cleanup=wrong):
        pass
    assert module.log == ["close", "close"]


def test_interrupted_clean_up(make, module):
    pool = make(max_size=1, cleanup=lambda conn: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        pool.put(pool.get())
    assert (pool.free(), pool.current_size, module.log) == (1, 0, ["close"])


def test_no_clean_up(make, module):
    pool = make(cleanup=None)
    pool.put(pool.get())
    with pool.item() as conn:
        assert conn
    assert module.log == []
    pool = make()
    with pool.item():
        pass
    with pool.item(cleanup=lambda conn: module.log.append(conn)):
        pass
    assert module.log == ["rollback", module.made[1]]


@pytest.mark.parametrize("option", ["max_idle", "max_age"])
def test_zero_closes_at_once_and_wakes_who_waits(make, module, option):
    pool = make(max_size=1, **{option: 0})
    conn = pool.get()
    waiter = eventlet.spawn(pool.get)
    turns()
    assert (pool.free(), pool.waiting()) == (0, 1)
    conn.close()
    other = waiter.wait()
    assert other._base is module.made[1] and module.made[0].closed
    assert (pool.free(), pool.waiting(), len(pool.free_items)) == (0, 0, 0)
    pool.put(other)


def test_who_waits_sees_why_it_cannot_connect(make, module):
    pool = make(max_size=1, max_idle=0)
    conn = pool.get()
    waiters = [eventlet.spawn(pool.get) for _ in range(2)]
    turns()
    module.error = OSError("refused")
    conn.close()
    for waiter in waiters:
        with pytest.raises(OSError, match="refused"):
            waiter.wait()
    assert (pool.free(), pool.current_size, pool.waiting()) == (1, 0, 0)


def test_old_and_idle_connections_are_closed(make, module, clock):
    pool = make(max_idle=10, max_age=30)
    first, second = pool.get(), pool.get()
    first.close()
    clock[0] += 9
    second.close()
    clock[0] += 2  # the first has been idle for 11 seconds
    pool._expire_old_connections(clock[0])
    assert [conn.closed for conn in module.made] == [True, False]
    assert pool.current_size == 1
    for _ in range(3):
        clock[0] += 9
        with pool.item():
            pass
    assert module.made[1].closed, "30 seconds after it was made"
    assert pool.get()._base is module.made[2]


def test_a_timer_closes_them(make, module):
    closed = eventlet.Event()
    pool = make(max_idle=0.001)
    conn = pool.get()
    conn._base.close = closed.send
    conn.close()
    assert len(pool.free_items) == 1
    closed.wait()
    turns()
    assert (len(pool.free_items), pool._expiration_timer) == (0, None)


def test_the_timer_looks_for_the_next_one(make, module, clock):
    pool = make(max_idle=10, max_age=30)
    one, two = pool.get(), pool.get()
    one.close()
    assert pool._expires_at == 110
    clock[0] = 105
    two.close()
    assert pool._expires_at == 110
    clock[0] = 111
    pool._expiration_timer.cancel()
    db_pool._expire(lambda: pool)
    assert (pool._expires_at, len(pool.free_items)) == (115, 1)
    db_pool._expire(lambda: None)
    pool.clear()
    assert pool._expiration_timer is None


def test_a_pool_that_is_dropped_is_freed(module):
    pool = RawConnectionPool(module, max_idle=0.01)
    pool.get().close()
    seen, timer = weakref.ref(pool), pool._expiration_timer
    del pool
    gc.collect()
    assert seen() is None
    timer.wait()


@pytest.mark.parametrize("kind", [RawConnectionPool, TpooledConnectionPool])
def test_connect_timeout(make, module, kind):
    pool = make(kind, max_size=1, connect_timeout=0.001)
    if kind is RawConnectionPool:
        module.before = eventlet.Event().wait
    else:
        go_on = threading.Event()
        module.before = lambda: go_on.wait(10)
    with pytest.raises(ConnectTimeout):
        pool.get()
    assert (pool.free(), pool.current_size) == (1, 0)
    module.before = None
    if kind is TpooledConnectionPool:
        go_on.set()
    pool.connect_timeout = None
    assert pool.get()


def test_failing_to_connect_costs_no_place(make, module):
    pool = make(max_size=1)
    module.error = RuntimeError("no")
    for _ in range(2):
        with pytest.raises(RuntimeError):
            pool.get()
    assert pool.free() == 1


def test_a_smaller_pool_closes_what_comes_back(make, module):
    pool = make(max_size=2)
    one, two = pool.get(), pool.get()
    pool.resize(1)
    one.close()
    two.close()
    assert [conn.closed for conn in module.made] == [True, False]
    assert (pool.current_size, pool.free()) == (1, 1)


def test_safe_close(make, module, capsys):
    pool = make()
    pool._safe_close(None)
    pool._safe_close(1)

    class Bad:
        error = RuntimeError("cannot close")

        def close(self):
            raise self.error

    pool._safe_close(Bad(), quiet=True)
    assert capsys.readouterr().err == ""
    pool._safe_close(Bad(), quiet=False)
    assert "cannot close" in capsys.readouterr().err
    Bad.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        pool._safe_close(Bad())


def test_unwrap(make):
    pool = make()
    conn = pool.get()
    assert pool._unwrap_connection(conn) is conn._base
    assert pool._unwrap_connection(None) is pool._unwrap_connection(1) is None
    conn.close()


def test_a_create_that_returns_the_connection_alone(module):
    class Simple(BaseConnectionPool):
        def create(self):
            return self._db_module.connect()

    pool = Simple(module, min_size=1)
    with pool.item() as conn:
        assert conn._base is module.made[0]
    pool.clear()
    assert module.made[0].closed


def test_database_connector(module):
    credentials = {"here": {"user": "me"}, "default": {"user": "other", "port": 1}}
    connector = DatabaseConnector(module, credentials, RawConnectionPool, max_size=1, passwd="x")
    assert connector.credentials_for("here") == {"user": "me"}
    assert connector.credentials_for("there") == {"user": "other", "port": 1}
    pool = connector.get("here", "cups")
    assert pool is connector.get("here", "cups") is not connector.get("here", "plates")
    assert (type(pool), pool.max_size) == (RawConnectionPool, 1)
    pool.get().close()
    expected = {"host": "here", "db": "cups", "user": "me", "passwd": "x"}
    assert module.made[0].arguments == expected
    pool.clear()
    assert DatabaseConnector(module, {})._conn_pool_class is db_pool.ConnectionPool
    assert DatabaseConnector(module, {}).credentials_for("nowhere") is None
    with pytest.raises(TypeError, match="no credentials for 'nowhere'"):
        DatabaseConnector(module, {}).get("nowhere", "cups")
    with pytest.raises(AssertionError, match="a database module is required"):
        DatabaseConnector(None, {})
