"""The C API: a module compiled here with the greenlet.h that the package ships."""

import gc
import importlib.machinery
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import sysconfig
import weakref

import greenlet as package
import pytest
from greenlet import GreenletExit, getcurrent, greenlet

HERE = pathlib.Path(__file__).parent
STRICT = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]


def include():
    """The folder of greenlet.h; upstream has the file but no function that tells where."""
    get_include = getattr(package, "get_include", None)
    return get_include() if get_include else os.path.dirname(package.__file__)


def compile_module(folder, compiler, name, *options):
    target = folder / (name + sysconfig.get_config_var("EXT_SUFFIX"))
    subprocess.run(
        [
            *compiler,
            *STRICT,
            *options,
            "-fPIC",
            "-shared",
            f"-DCAPI_MODULE={name}",
            f"-I{include()}",
            f"-I{sysconfig.get_path('include')}",
            str(HERE / "capi_probe.c"),
            "-o",
            str(target),
        ],
        check=True,
        timeout=120,
    )
    loader = importlib.machinery.ExtensionFileLoader(name, str(target))
    spec = importlib.util.spec_from_file_location(name, target, loader=loader)
    return importlib.util.module_from_spec(spec)


@pytest.fixture(scope="module", params=["c", "c++"])
def probe(request, tmp_path_factory):
    name = {"c": "capi_probe_c", "c++": "capi_probe_cpp"}[request.param]
    compiler = {"c": "cc", "c++": "c++"}[request.param]
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    options = ["-x", request.param, *(["-Wno-cast-function-type"] if request.param == "c" else [])]
    return compile_module(tmp_path_factory.mktemp(name), [compiler], name, *options)


def parked(value=None):
    def body():
        got = getcurrent().parent.switch(value)
        return "returned", got

    g = greenlet(body)
    g.switch()
    return g


def test_constants(probe):
    assert probe.pointers == 12
    assert probe.size == greenlet.__basicsize__ == 40
    assert probe.header_version == "1.0.0"


def test_type_and_exceptions(probe):
    assert probe.type() is greenlet
    assert probe.exceptions() == (package.error, GreenletExit)


def test_check(probe):
    class Mine(greenlet):
        pass

    for yes in (greenlet(), getcurrent(), Mine(), probe.Child()):
        assert probe.check(yes) is True
    for no in (5, None, greenlet, "g"):
        assert probe.check(no) is False


def test_new(probe):
    g = probe.new(None, None)
    assert type(g) is greenlet
    assert g.parent is getcurrent()
    assert not hasattr(g, "run")
    parent = greenlet()
    g = probe.new(len, parent)
    assert g.run is len
    assert g.parent is parent
    with pytest.raises(TypeError, match="Expected any type of greenlet, not int"):
        probe.new(len, 5)


def test_getcurrent(probe):
    assert probe.getcurrent() is getcurrent()
    g = greenlet(probe.getcurrent)
    assert g.switch() is g


def test_switch(probe):
    assert probe.switch(greenlet(lambda *a, **k: (a, k)), (1, 2), {"a": 3}) == ((1, 2), {"a": 3})
    assert probe.switch(greenlet(lambda *a, **k: (a, k)), None, None) == ((), {})
    assert probe.switch(parked(), None, None) == ("returned", ())
    assert probe.switch(parked(), (1,), None) == ("returned", 1)
    assert probe.switch(parked(), (1, 2), {}) == ("returned", (1, 2))
    assert probe.switch(parked(), (), {"a": 1}) == ("returned", {"a": 1})
    assert probe.switch(parked(), (1,), {"a": 1}) == ("returned", ((1,), {"a": 1}))


def test_switch_ignores_keywords_that_are_no_dict(probe):
    assert probe.switch(parked(), (1,), 5) == ("returned", 1)


def test_switch_delivers_exceptions(probe):
    def fail():
        raise KeyError("from the target")

    with pytest.raises(KeyError, match="from the target"):
        probe.switch(greenlet(fail), None, None)


def test_throw(probe):
    with pytest.raises(ValueError, match="^$"):
        probe.throw(parked(), ValueError, None, None)
    with pytest.raises(ValueError, match="text"):
        probe.throw(parked(), ValueError, "text", None)
    with pytest.raises(ValueError, match="inst"):
        probe.throw(parked(), ValueError("inst"), None, None)
    ended = GreenletExit("e")
    assert probe.throw(parked(), ended, None, None) is ended


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((5, None, None), "exceptions must be classes, or instances, not int"),
        ((ValueError("x"), 2, None), "instance exception may not have a separate value"),
        ((ValueError, "x", 3), r"throw\(\) third argument must be a traceback object"),
    ],
)
def test_throw_checks_its_arguments(probe, args, text):
    g = parked()
    with pytest.raises(TypeError, match=text):
        probe.throw(g, *args)
    assert not g.dead


def test_setparent_and_getparent(probe):
    a, b = greenlet(), greenlet()
    probe.setparent(a, b)
    assert a.parent is b
    assert probe.getparent(a) is b
    assert probe.getparent(getcurrent()) == "NULL without an exception"
    with pytest.raises(ValueError, match="cyclic parent chain"):
        probe.setparent(b, a)
    with pytest.raises(TypeError, match="Expected any type of greenlet, not int"):
        probe.setparent(a, 5)
    with pytest.raises(AttributeError, match="can't delete attribute"):
        probe.setparent(a, None)
    assert a.parent is b


def test_states(probe):
    def states(g):
        return probe.main(g), probe.started(g), probe.active(g)

    assert states(getcurrent()) == (1, 1, 1)
    assert states(greenlet(len)) == (0, 0, 0)
    g = parked()
    assert states(g) == (0, 1, 1)
    g.switch()
    assert states(g) == (0, 1, 0)
    g = greenlet(len)
    g.throw()
    assert states(g) == (0, 1, 0)


@pytest.mark.parametrize("name", ["switch", "throw", "getparent", "main", "started", "active"])
@pytest.mark.parametrize("garbage", [5, None, "g", greenlet], ids=str)
def test_garbage_instead_of_a_greenlet(probe, name, garbage):
    more = {"switch": ((), {}), "throw": (ValueError, None, None)}.get(name, ())
    with pytest.raises(TypeError, match="bad argument type for built-in operation"):
        getattr(probe, name)(garbage, *more)


def test_static_subtype(probe):
    g = probe.Child()
    assert g.parent is getcurrent()
    assert g.switch("first") == "first"
    assert g.value == "first"
    assert g.gr_frame is None  # only C frames
    assert g.switch("second") == ("first", "second")
    assert g.dead
    with pytest.raises(TypeError, match="takes exactly one argument"):
        probe.Child().switch()


def test_static_subtype_can_be_derived_from(probe):
    class Python(probe.Child):
        def __init__(self, extra):
            super().__init__()
            self.extra = extra

    g = Python("e")
    g.switch(1)
    ref = weakref.ref(g)
    assert g.switch(2) == (1, 2)
    del g
    assert ref() is None


def test_static_subtype_is_killed_with_its_last_reference(probe):
    value = type("Value", (), {})()
    ref = weakref.ref(value)
    g = probe.Child()
    g.run = lambda value: (
        getcurrent().parent.switch()
    )  # the method would hold a reference to itself
    g.switch(value)
    gone = weakref.ref(g)
    del value, g
    assert gone() is None
    assert ref() is None


def test_cycle_through_a_static_subtype(probe):
    g = probe.Child()
    g.owner = [g]
    ref = weakref.ref(g)
    del g
    gc.collect()
    assert ref() is None


def test_large_c_frames_survive_switches(probe):
    """The C frames of suspended greenlets keep their contents, whatever their size."""

    def body():
        for _ in range(5):
            getcurrent().parent.switch()

    sizes = [0, 1, 100, 4096, 20_000, 32_768]
    greenlets = [greenlet(probe.with_frame) for _ in sizes * 4]
    for g, size in zip(greenlets, sizes * 4, strict=True):
        g.switch(size, body)
    for _ in range(5):
        for g in reversed(greenlets):
            g.switch()
    assert all(g.dead for g in greenlets)


def test_capsule():
    import ctypes

    name = b"greenlet._C_API"
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(pointer(package._C_API, name), ctypes.POINTER(ctypes.c_void_p))
    assert all(table[i] for i in range(12))
    assert table[0] == id(greenlet)
    assert (table[1], table[2]) == (id(package.error), id(GreenletExit))
    assert package._C_API is package._greenlet._C_API


@pytest.mark.parametrize("standard", ["-std=c99", "-std=c17", "-std=c++11", "-std=c++17"])
def test_header_compiles(tmp_path, standard):
    """By itself, included twice, under both spellings of its path."""
    language = "c++" if "c++" in standard else "c"
    source = tmp_path / "twice.c"
    source.write_text(
        '#include "greenlet.h"\n#include <greenlet/greenlet.h>\n'
        "PyObject *use(void) { PyGreenlet_Import(); return (PyObject *)PyGreenlet_GetCurrent(); }\n"
    )
    done = subprocess.run(
        [
            "c++" if language == "c++" else "cc",
            "-x",
            language,
            standard,
            *STRICT,
            "-c",
            f"-I{include()}",
            f"-I{os.path.dirname(include())}",
            f"-I{sysconfig.get_path('include')}",
            str(source),
            "-o",
            str(tmp_path / "twice.o"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


CYTHON = """
# cython: language_level=3
cdef extern from "greenlet/greenlet.h":
    ctypedef class greenlet.greenlet [object PyGreenlet]:
        pass
    greenlet PyGreenlet_GetCurrent()
    void* PyGreenlet_GetParent(greenlet)
    void PyGreenlet_Import()

PyGreenlet_Import()

cdef class Counted(greenlet):
    cdef public int switches
    cdef readonly list log

    def __init__(self, run=None, parent=None):
        greenlet.__init__(self, run, parent)
        self.log = []

    cpdef switch(self):
        self.switches += 1
        return greenlet.switch(self)

cpdef current():
    return PyGreenlet_GetCurrent()

cpdef has_parent(greenlet g):
    return PyGreenlet_GetParent(g) != NULL
"""


def test_cython_subclass(tmp_path, script):
    """The way gevent declares greenlet: a cdef class over a `ctypedef class [object PyGreenlet]`."""
    pytest.importorskip("Cython")
    (tmp_path / "counted.pyx").write_text(CYTHON)
    subprocess.run(
        [sys.executable, "-m", "cython", "-3", "counted.pyx"], cwd=tmp_path, check=True, timeout=120
    )
    subprocess.run(
        [
            "cc",
            "-fPIC",
            "-shared",
            "-w",
            f"-I{os.path.dirname(include())}",
            f"-I{sysconfig.get_path('include')}",
            "counted.c",
            "-o",
            "counted" + sysconfig.get_config_var("EXT_SUFFIX"),
        ],
        cwd=tmp_path,
        check=True,
        timeout=240,
    )
    done = script(
        """
        import gc, sys
        sys.path.insert(0, sys.argv[1])
        from counted import Counted, current, has_parent
        from greenlet import getcurrent, greenlet
        g = Counted(lambda: getcurrent().parent.switch("parked"))
        assert isinstance(g, greenlet) and has_parent(g) and not has_parent(getcurrent())
        assert current() is getcurrent()
        assert g.switch() == "parked" and g.switches == 1
        assert g.switch() == () and g.dead
        killed = Counted(lambda: getcurrent().parent.switch())
        killed.switch()
        del killed
        h = Counted(); h.log.append(h); del h
        gc.collect()
        print("fine")
        """,
        str(tmp_path),
    )
    assert (done.code, done.out) == (0, "fine\n"), done


THROWER = """
#include <Python.h>
#include <stdexcept>

static PyObject *fail(PyObject *, PyObject *) { throw std::runtime_error("thrown in a greenlet"); }
static PyMethodDef methods[] = {{"fail", fail, METH_NOARGS, nullptr}, {}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "thrower", nullptr, -1, methods};
PyMODINIT_FUNC PyInit_thrower() { return PyModule_Create(&definition); }
"""

CALLS = {
    "greenlet": "greenlet.greenlet(thrower.fail).switch()",
    "python": "greenlet.greenlet(lambda: thrower.fail()).switch()",
    "spawn": "eventlet.spawn(thrower.fail).wait()",
}


@pytest.mark.parametrize("call", CALLS)
def test_exception_of_cpp_that_nobody_catches(tmp_path, call):
    compiler = shutil.which("c++")
    if not compiler:
        pytest.skip("no c++")
    (tmp_path / "thrower.cpp").write_text(THROWER)
    target = tmp_path / ("thrower" + sysconfig.get_config_var("EXT_SUFFIX"))
    flags = ["-fPIC", "-shared", f"-I{sysconfig.get_path('include')}"]
    subprocess.run(
        [compiler, *flags, str(tmp_path / "thrower.cpp"), "-o", str(target)],
        check=True,
        timeout=120,
    )
    code = f"import eventlet, greenlet, sys; sys.path[0] = {str(tmp_path)!r}; import thrower\n"
    done = subprocess.run(
        [sys.executable, "-c", code + CALLS[call]], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == -signal.SIGABRT
    assert "thrown in a greenlet" in done.stderr
