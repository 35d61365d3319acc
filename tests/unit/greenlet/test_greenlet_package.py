"""The names of the package, its version, its old module path and its header."""

import importlib.metadata
import os
import re
import sys

import greenlet as package
import pytest
from greenlet import _greenlet

ours = pytest.mark.ours("names that only this implementation has")


def test_all():
    assert set(package.__all__) == {
        "__version__",
        "_C_API",
        "GreenletExit",
        "error",
        "getcurrent",
        "greenlet",
        "gettrace",
        "settrace",
    }
    for name in package.__all__:
        assert hasattr(package, name)


def test_constants():
    assert package.GREENLET_USE_GC == 1
    assert package.GREENLET_USE_TRACING == 1
    assert package.GREENLET_USE_CONTEXT_VARS == 1
    assert package.CLOCKS_PER_SEC == 1_000_000
    assert _greenlet.GREENLET_USE_STANDARD_THREADING == 1
    assert not hasattr(package, "GREENLET_USE_STANDARD_THREADING")


def test_version_orders_as_3_5_6():
    packaging = pytest.importorskip("packaging.version")
    version = packaging.parse(package.__version__)
    assert packaging.parse("3.5.6") <= version < packaging.parse("3.5.7")
    assert version.base_version == "3.5.6"
    assert not version.is_prerelease


def test_version_satisfies_requirements():
    specifiers = pytest.importorskip("packaging.specifiers")
    for text in (">=3.1.1", ">=3.5.6", "==3.5.6", ">=1.0,<4", "~=3.5.0", "!=0.4.17"):
        assert package.__version__ in specifiers.SpecifierSet(text)


def test_version_read_by_simple_parsers():
    """What gevent, SQLAlchemy and others do with version strings."""
    assert tuple(int(x) for x in package.__version__.split(".")[:2]) == (3, 5)
    assert tuple(int(x) for x in re.findall(r"\d+", package.__version__)[:3]) == (3, 5, 6)
    assert re.match(r"(\d+)\.(\d+)\.(\d+)", package.__version__).groups() == ("3", "5", "6")


@ours
def test_local_version_is_that_of_the_distribution():
    ours_version = package.__version__.partition("+rs.")[2]
    assert ours_version == importlib.metadata.version("eventlet-rs")


@ours
def test_get_include():
    assert os.path.isfile(os.path.join(package.get_include(), "greenlet.h"))
    assert os.path.isfile(os.path.join(package.get_include(), "py.typed"))


def test_header_is_in_the_package():
    with open(os.path.join(os.path.dirname(package.__file__), "greenlet.h")) as f:
        assert "PyGreenlet_API_pointers 12" in f.read()


def test_old_module_path():
    assert sys.modules["greenlet._greenlet"] is _greenlet
    assert package._greenlet is _greenlet
    for name in {*package.__all__, "enable_optional_cleanup", "CLOCKS_PER_SEC"} - {"__version__"}:
        assert getattr(_greenlet, name) is getattr(package, name)


def test_old_module_path_takes_attributes():
    _greenlet.stored_by_a_test = 1
    assert _greenlet.stored_by_a_test == 1
    del _greenlet.stored_by_a_test


def test_names_for_test_suites_are_in_the_old_module_only():
    names = [
        "get_pending_cleanup_count",
        "get_total_main_greenlets",
        "set_thread_local",
        "UnswitchableGreenlet",
    ]
    for name in names:
        assert hasattr(_greenlet, name)
        assert not hasattr(package, name)
    assert hasattr(_greenlet, "get_tstate_trash_delete_nesting") == (sys.version_info < (3, 13))


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="CPython 3.13 has no such counter")
def test_trash_delete_nesting():
    assert _greenlet.get_tstate_trash_delete_nesting() == 0
    g = package.greenlet(_greenlet.get_tstate_trash_delete_nesting)
    assert g.switch() == 0


def test_counters():
    assert _greenlet.get_total_main_greenlets() >= 1
    assert isinstance(_greenlet.get_pending_cleanup_count(), int)


def test_optional_cleanup():
    package.enable_optional_cleanup(True)
    assert package.get_clocks_used_doing_optional_cleanup() >= 0
    package.enable_optional_cleanup(False)
    assert package.get_clocks_used_doing_optional_cleanup() is None
    package.enable_optional_cleanup([])
    assert package.get_clocks_used_doing_optional_cleanup() is None
    package.enable_optional_cleanup(1)
    assert package.get_clocks_used_doing_optional_cleanup() == 0

    class NoTruth:
        def __bool__(self):
            raise ValueError("no truth")

    with pytest.raises(ValueError, match="no truth"):
        package.enable_optional_cleanup(NoTruth())


def test_unswitchable_greenlet():
    cls = _greenlet.UnswitchableGreenlet
    g = cls(lambda: 5)
    assert isinstance(g, package.greenlet)
    assert g.force_switch_error is False
    assert g.force_slp_switch_error is False
    assert g.switch() == 5
    g = cls(len)
    g.force_switch_error = True
    assert g.force_switch_error is True
    g.force_slp_switch_error = True
    assert g.force_slp_switch_error is True
    with pytest.raises((AttributeError, TypeError)):
        del g.force_switch_error


def test_unswitchable_greenlet_refuses_to_switch():
    main = package.getcurrent()
    g = _greenlet.UnswitchableGreenlet(lambda: main.switch("parked"))
    g.force_switch_error = True
    with pytest.raises(
        SystemError, match="Failed to switch stacks into a greenlet for the first time"
    ):
        g.switch()
    assert package.getcurrent() is main
    g = _greenlet.UnswitchableGreenlet(lambda: main.switch("parked"))
    assert g.switch() == "parked"
    g.force_switch_error = True
    with pytest.raises(SystemError, match="Failed to switch stacks into a running greenlet"):
        g.switch()
    g.force_switch_error = False
    if not g.dead:
        g.switch()


def test_stack_saved():
    """Nothing is copied for a greenlet that has not run; upstream's tests read the attribute."""
    assert package.greenlet()._stack_saved == 0
    assert package.getcurrent()._stack_saved == 0


def test_docstrings():
    for thing in (package.greenlet, package.greenlet.switch, package.greenlet.throw):
        assert thing.__doc__
    for function in (package.getcurrent, package.settrace, package.gettrace):
        assert function.__doc__


def test_import_loads_little(script):
    done = script(
        """
        import sys
        import greenlet
        print(*sys.modules)
        """
    )
    assert done.code == 0, done
    loaded = {name.partition(".")[0] for name in done.out.split()}
    assert not loaded & {
        "asyncio",
        "eventlet",
        "socket",
        "threading",
        "importlib_metadata",
        "inspect",
    }
