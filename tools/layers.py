"""Checks that the layers of ARCHITECTURE.md hold: imports point down, unsafe code stays at home.

    tools/layers.py [--root FOLDER]        prints each breach as file:line, and exits with 1

The rules are the tables below. A new module gets a place in them, in the same commit, and a changed
rule gets a sentence in ARCHITECTURE.md. How sources are read is in tools/sources.py.
"""

import argparse
import re
import sys
from pathlib import Path

import sources

# Modules of each crate, lowest level first. A module may import those of lower lines. Names in one
# cell may import each other, cells of one line (between "|") may not.
ENGINE = """
    clock
    fiber stack | timers | inbox
    reactor
    hub
    rt
    sync | net
"""
EXT = """
    gil_cell | object error | stacks
    pystate | call ending gil | hosts
    greenlet thread thread_ident trace overflow process
    capi | deep_sort | hub | local
    wait_queue | timer
    event | semaphore | lock | timeout
    greenthread | thread_module
    greenpool | queue | tpool
    socket | select | file
    redirect
    hub_api | census
"""
LEVELS = {"engine": ENGINE, "ext": EXT}

# Imports that point up all the same: (crate, from, to) and why it must be so.
UPWARD = {
    ("ext", "greenlet", "hub"): "a greenlet that ends is followed by whom its hub names",
    ("ext", "call", "process"): "what unwinds a thread depends on whether the interpreter ends",
    ("ext", "thread", "hub"): "the state of an OS thread owns its hub",
    ("ext", "hub", "greenthread"): "a green thread that cannot be started ends with that error",
    ("ext", "process", "hub"): "the counters that tests look for leaks by are printed together",
}

# Modules that may contain unsafe code: their reason stands at their `mod` line.
UNSAFE = {
    "engine": {"clock", "fiber", "stack", "reactor", "inbox", "rt", "net"},
    "ext": {
        *{"gil", "gil_cell", "object", "error", "call", "pystate", "greenlet", "thread", "trace"},
        *{
            "ending",
            "overflow",
            "process",
            "capi",
            "deep_sort",
            "hub",
            "greenthread",
            "socket",
            "select",
            "local",
            "tpool",
            "redirect",
            "thread_ident",
            "census",
            "thread_module",
            "file",
        },
    },
}

# Third-party crates that a program gets with each of ours.
DEPENDENCIES = {
    # corosensei: for CPUs without assembly of our own. socket2: socket options without unsafe code.
    # loom: under cfg(loom), to test the one file that threads share.
    "engine": {"libc", "corosensei", "socket2", "loom"},
    "ext": {"eventlet", "libc", "pyo3", "pyo3-build-config"},
}

# One door each: (crate, what, files that may say it).
DOORS = [
    ("engine", r"\bpyo3\b|\bPyObject\b", ()),
    ("ext", r"\bfiber\s*::\s*(\{[^}]*)?\bswitch\b", ("greenlet/",)),
    ("ext", r"\b(begin_wait\w*|end_wait)\s*\(", ("hub.rs", "hub/")),
    # process: what tells that the interpreter ends was renamed in 3.13. lib: one module is for some.
    # call, ending: which functions that call objects are exported.
    ("ext", r"\bPy_3_\d+\b", ("pystate/", "process.rs", "lib.rs", "call.rs", "ending.rs")),
]

# Python glue reads no clock to schedule by, polls nothing and keeps no run queue. These may, for
# the reason given.
PYTHON_SCHEDULING = {
    "eventlet/hubs/asyncio.py": "the driver on an asyncio loop",
    "eventlet/hubs/poll.py": "the poll object of derived classes that ask the kernel themselves",
}
SCHEDULING_CALLS = {
    *{"time.monotonic", "time.perf_counter", "time.sleep", "select.select", "select.poll"},
    *{"select.epoll", "select.kqueue", "selectors.DefaultSelector", "heapq.heappush"},
}


def places(table):
    """Maps each module of a table to its level and cell."""
    found = {}
    lines = [line for line in table.splitlines() if line.strip()]
    for level, line in enumerate(lines):
        for cell, names in enumerate(line.split("|")):
            for name in names.split():
                found[name] = (level, cell)
    return found


def check_imports(root, crate):
    """Yields a breach for each import of a module that is not below."""
    table = places(LEVELS[crate])
    for file in sources.rust_files(root, crate):
        if file.module and file.module not in table:
            yield f"{file.path}: module {file.module} has no level in tools/layers.py"
            continue
        for line, target in file.imports():
            if not file.module or target == file.module:
                continue
            where = f"{file.path}:{line}"
            if target not in table:
                yield f"{where}: {target} is of the crate's root, which is above everything"
                continue
            (level, cell), (other, its_cell) = table[file.module], table[target]
            same = level == other and cell == its_cell
            if other >= level and not same and (crate, file.module, target) not in UPWARD:
                yield f"{where}: {file.module} must not import {target}, which is not below it"


def check_unsafe(root, crate):
    """Yields a breach for unsafe code, or leave to write it, in a module that may have none."""
    for file in sources.rust_files(root, crate):
        for line, module in file.unsafe_lines():
            if module not in UNSAFE[crate]:
                name = module or "the crate's root"
                yield f"{file.path}:{line}: unsafe code is not allowed in {name}"


def check_doors(root, crate):
    """Yields a breach for each mention of what only certain files may say."""
    for file in sources.rust_files(root, crate):
        for owner, pattern, allowed in DOORS:
            if owner != crate or any(file.inside.startswith(start) for start in allowed):
                continue
            for match in re.finditer(pattern, file.text):
                line = file.text.count("\n", 0, match.start()) + 1
                yield f"{file.path}:{line}: {match.group().split()[0]} does not belong here"


def check_dependencies(root, crate):
    """Yields a breach for each third-party crate that has not been agreed upon."""
    manifest = root / crate / "Cargo.toml"
    for line, name in sources.cargo_dependencies(manifest):
        if name not in DEPENDENCIES[crate]:
            yield f"{manifest}:{line}: {crate} must not depend on {name}"


def check_python(root):
    """Yields a breach for imports that point up, cycles, and scheduling outside its drivers."""
    graph = {}
    for file in sources.python_files(root / "python"):
        graph[file.name] = file
        for line, target in file.imports(everywhere=True):
            if file.name.split(".")[0] == "greenlet" and target.split(".")[0] == "eventlet":
                yield f"{file.path}:{line}: greenlet must not import eventlet"
        if file.inside in PYTHON_SCHEDULING:
            continue
        for line, call in file.calls():
            if call in SCHEDULING_CALLS:
                yield f"{file.path}:{line}: {call} is scheduling, which belongs to the engine"
    for cycle in sources.cycles(graph):
        yield f"{graph[cycle[0]].path}: import cycle: {' -> '.join((*cycle, cycle[0]))}"


def breaches(root):
    """All breaches in the project at `root`."""
    for crate in LEVELS:
        for check in (check_imports, check_unsafe, check_doors, check_dependencies):
            yield from check(root, crate)
    yield from check_python(root)


def main():
    """Prints the breaches; the exit status says whether there was one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    found = sorted(set(breaches(parser.parse_args().root)))
    print(*found, f"layers: {len(found)} breaches" if found else "layers: hold", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
