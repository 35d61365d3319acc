"""What `import eventlet` gives, and what it does not do."""

import subprocess
import sys
import textwrap

import eventlet
import pytest

NAMES = """
    sleep spawn spawn_n spawn_after kill getcurrent connect listen serve StopServe wrap_ssl Event GreenPool
    GreenPile Queue Semaphore CappedSemaphore BoundedSemaphore Timeout with_timeout wrap_is_timeout is_timeout
    import_patched monkey_patch
""".split()
SUBMODULES = """
    convenience event green greenio greenpool greenthread hubs patcher queue semaphore support timeout
""".split()

ours = pytest.mark.skipif(
    not hasattr(eventlet, "__implementation__"), reason="differs from upstream on purpose"
)


def run(script):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("name", NAMES + SUBMODULES)
def test_names(name):
    assert getattr(eventlet, name) is getattr(eventlet, name)


def test_version():
    assert eventlet.__version__.startswith("0.41.3")


@ours
def test_implementation():
    assert eventlet.__implementation__ == "eventlet-rs"


def test_unknown_name():
    with pytest.raises(AttributeError):
        getattr(eventlet, "no_such_name")  # noqa: B009


@ours
def test_star_import():
    names = {}
    exec("from eventlet import *", names)
    assert set(NAMES + SUBMODULES) <= set(names)


@ours
def test_dir():
    assert set(NAMES + SUBMODULES) <= set(dir(eventlet))


@ours
def test_import_warns_nothing_and_loads_little():
    heavy = {"asyncio", "socket", "ssl", "logging", "http.client", "dns", "subprocess"}
    loaded = run("import eventlet, sys; print(*sys.modules)")
    assert heavy.isdisjoint(loaded)


def test_import_starts_no_hub_and_no_thread():
    script = """
        import os, threading
        before = os.listdir('/proc/self/fd')
        import eventlet
        assert os.listdir('/proc/self/fd') == before
        print(threading.active_count())
    """
    if hasattr(eventlet, "__implementation__"):
        assert run(script) == ["1"]


@pytest.mark.parametrize("name", ["call_after_global", "exc_after", "TimeoutError"])
@ours
def test_deprecated_names_warn(name):
    arguments = "(0.001, print)" if name != "TimeoutError" else "()"
    script = f"""
        import warnings, eventlet
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            eventlet.{name}{arguments}
        print([w.category.__name__ for w in caught])
    """
    assert "DeprecationWarning" in "".join(run(script))


def test_submodules_need_no_order():
    for name in SUBMODULES:
        run(f"import eventlet.{name}" if hasattr(eventlet, "__implementation__") else "pass")


@ours
@pytest.mark.parametrize(
    "module",
    [
        *("convenience", "patcher", "support", "support.resolver", "greenio.base", "greenio.py3"),
        *("green.select", "green.socket", "green.time", "green.ssl"),
        *("coros", "corolocal", "dagpool", "pools", "greenpool", "greenthread", "timeout"),
        *("db_pool", "support.db_wrappers"),
    ],
)
def test_examples_in_docstrings(module):
    script = f"""
        import doctest, importlib
        module = importlib.import_module('eventlet.{module}')
        print(doctest.testmod(module).failed)
    """
    assert run(script) == ["0"]
