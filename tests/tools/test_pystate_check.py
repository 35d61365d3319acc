"""tools/pystate_check: the mirrors agree with the headers, and a wrong mirror would be found."""

import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys
import sysconfig

import pytest

TOOL = pathlib.Path(__file__).parents[2] / "tools" / "pystate_check" / "run"
_core = pytest.importorskip("greenlet._core")


@pytest.fixture(scope="module")
def tool():
    loader = importlib.machinery.SourceFileLoader("pystate_check_run", str(TOOL))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.mark.timeout(120)
def test_mirrors_agree_with_the_headers():
    if not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("this Python has no headers")
    done = subprocess.run([sys.executable, str(TOOL)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(_core._pystate_layout())} fields agree" in done.stdout


def test_differences_are_named(tool):
    layout = {"PyThreadState.interp": [16, 8], "PyThreadState.context": [24, 8]}
    assert tool.differences(layout, [(16, 8), (24, 8)]) == []
    (line,) = tool.differences(layout, [(16, 8), (32, 8)])
    assert "PyThreadState.context: ours at 24" in line and "header at 32" in line


def test_a_python_without_the_extension_is_a_failure(tmp_path):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    fake.chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(TOOL), str(fake)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "broken" in done.stdout


def test_every_swapped_field_is_listed():
    names = set(_core._pystate_layout())
    assert {"PyThreadState.context", "PyThreadState.context_ver", "PyThreadState.exc_info"} <= names
    if sys.version_info >= (3, 14):
        assert "_PyThreadStateImpl.c_stack_top" in names
