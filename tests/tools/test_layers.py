"""tools/layers.py must fail on what it forbids: a check that passes everything guards nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def project(tmp_path):
    """A project of few files that keeps every rule."""
    return write(
        tmp_path,
        {
            "engine/Cargo.toml": '[dependencies]\nlibc = "0.2"\n[dev-dependencies]\nmay = "0.3"\n',
            "ext/Cargo.toml": '[dependencies]\npyo3 = "0.30"\neventlet = { path = "../engine" }\n',
            "engine/src/lib.rs": '#[allow(unsafe_code, reason = "maps memory")]\npub mod stack;\n',
            "engine/src/clock.rs": "// use crate::hub;\npub struct Instant(u64);\n",
            "engine/src/stack.rs": "fn f() {\n    unsafe { g() }\n}\n",
            "engine/src/timers.rs": "use crate::clock::Instant;\n",
            "engine/src/hub.rs": "use crate::{clock::Instant, timers::Timers};\n"
            "mod tests {\n    use super::*;\n}\n",
            "ext/src/lib.rs": "mod error;\n",
            "ext/src/error.rs": "use eventlet::hub::Hub;\n",
            "python/greenlet/__init__.py": "from greenlet._core import greenlet\n",
            "python/eventlet/__init__.py": "from eventlet import event\nimport greenlet\n",
            "python/eventlet/event.py": "import time\n\n\ndef f(t):\n    return time.time() - t\n",
        },
    )


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def layers(root):
    done = subprocess.run(
        [sys.executable, TOOLS / "layers.py", "--root", root],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert not done.stderr
    return done.returncode, done.stdout.replace(f"{root}/", "")


def test_accepts_imports_that_point_down(project):
    assert layers(project) == (0, "layers: hold\n")


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("engine/src/timers.rs", "use crate::hub::Hub;", "timers.rs:1: timers must not import hub"),
        ("engine/src/timers.rs", "\nuse super::hub;", "timers.rs:2: timers must not import hub"),
        ("engine/src/timers.rs", "fn f() { crate::hub::g() }", "timers must not import hub"),
        ("engine/src/timers.rs", "use crate::{clock, hub::{Hub, Wait}};", "must not import hub"),
        ("engine/src/timers.rs", "mod t {\n use super::super::hub;\n}", "timers.rs:2: timers must"),
        ("engine/src/reactor/epoll.rs", "use crate::hub;", "reactor must not import hub"),
        ("engine/src/timers.rs", "use crate::inbox;", "timers must not import inbox"),
        ("engine/src/timers.rs", "use crate::Hub;", "Hub is of the crate's root"),
        ("engine/src/invented.rs", "", "module invented has no level"),
        ("engine/src/timers.rs", "fn f() { unsafe { g() } }", "is not allowed in timers"),
        ("engine/src/timers.rs", "#![allow(unsafe_code)]", "is not allowed in timers"),
        ("engine/src/timers.rs", "#[allow(unsafe_code)]\nfn f() {}", "is not allowed in timers"),
        ("engine/src/lib.rs", "#[allow(unsafe_code)]\nmod timers;", "is not allowed in timers"),
        ("engine/src/lib.rs", "#![allow(unsafe_code)]\nmod stack;", "in the crate's root"),
        ("engine/src/hub.rs", "use pyo3::Python;", "hub.rs:1: pyo3 does not belong here"),
        ("engine/Cargo.toml", '[dependencies]\npyo3 = "0.30"', "engine must not depend on pyo3"),
        ("engine/Cargo.toml", "[dependencies.pyo3]\n", "engine must not depend on pyo3"),
        ("engine/Cargo.toml", "[target.'cfg(unix)'.dependencies]\nrand.workspace = true", "rand"),
        ("ext/src/error.rs", "use crate::hub::park;", "error must not import hub"),
        ("ext/src/error.rs", "use eventlet::fiber::switch;", "fiber::switch does not belong here"),
        ("python/greenlet/a.py", "from eventlet import hubs", "greenlet must not import eventlet"),
        (
            "python/eventlet/event.py",
            "from time import sleep\nsleep(1)",
            "time.sleep is scheduling",
        ),
        ("python/eventlet/event.py", "import select\nselect.poll()", ":2: select.poll is scheduli"),
    ],
)
def test_refuses(project, name, text, complaint):
    write(project, {name: text + "\n"})
    status, output = layers(project)
    assert status == 1
    assert complaint in output


def test_refuses_an_import_cycle(project):
    write(
        project,
        {
            "python/eventlet/event.py": "from eventlet import queue\n",
            "python/eventlet/queue.py": "import eventlet.event\n",
        },
    )
    status, output = layers(project)
    assert status == 1
    assert "import cycle: eventlet.event -> eventlet.queue -> eventlet.event" in output


def test_a_cycle_that_is_broken_by_a_late_import_is_none(project):
    write(
        project,
        {
            "python/eventlet/event.py": "from eventlet import queue\n",
            "python/eventlet/queue.py": "def f():\n    import eventlet.event\n",
        },
    )
    assert layers(project)[0] == 0
