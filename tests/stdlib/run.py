"""Runs CPython's own tests of what `monkey_patch()` touches, plain and patched, and compares.

    python tests/stdlib/run.py [MODULE...] [--again] [--seconds N] [--match GLOB]

A test that passes plain and not patched is *lost*. Each loss must stand in differences.txt with its
reason; any other is an error (status 1). Outcomes are kept under .scratch/stdlib: the plain ones are
made once, or with --again. A test that hangs or crashes plain is not run patched.

A module that this CPython lacks is taken from the nearest version that is found here and has it
(test_concurrent_futures: 3.11.7 and 3.12.1, for instance, forgot to install it).
"""

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "upstream"))

from exclusions import Exclusions  # noqa: E402 (from the folder beside this one)
from execution import Execution  # noqa: E402

TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"
SCRATCH = FOLDER.parents[1] / ".scratch" / "stdlib" / TAG

#: The tests of the modules that are patched, and of those that stand on them.
MODULES = (
    "test_socket",
    "test_ssl",
    "test_threading",
    "test_threading_local",
    "test_threadedtempfile",
    "test_threadsignals",
    "test_thread",
    "test_queue",
    "test_select",
    "test_poll",
    "test_epoll",
    "test_selectors",
    "test_subprocess",
    "test_popen",
    "test_socketserver",
    "test_urllib",
    "test_urllib2",
    "test_urllib2_localnet",
    "test_httplib",
    "test_httpservers",
    "test_smtplib",
    "test_ftplib",
    "test_poplib",
    "test_imaplib",
    "test_xmlrpc",
    "test_robotparser",
    "test_wsgiref",
    "test_logging",
    "test_context",
    "test_contextlib",
    "test_sched",
    "test_timeout",
    "test_time",
    "test_os",
    "test_posix",
    "test_pipes",
    "test_pty",
    "test_fork1",
    "test_wait3",
    "test_wait4",
    "test_signal",
    "test_concurrent_futures",
    "test_asyncio",
)


#: Modules whose subject newer versions do not have, and the first version without it.
REMOVED = {"test_pipes": (3, 13)}


def is_in(folder, module):
    """True if this folder of a package `test` has the module, or the package of that name."""
    return (folder / f"{module}.py").exists() or (folder / module / "__init__.py").exists()


def lender(module):
    """Version and folder `test` of the nearest other CPython of this machine that has the module.

    An older one comes first: its tests know less than the `test.support` that they meet here.
    """
    program = FOLDER.parents[1] / "tools" / "pythons"
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    own, found = sys.version_info[:2], []
    for line in done.stdout.splitlines():
        version, _, python = line.partition(" ")
        home = subprocess.run(
            [python, "-c", "import test; print(test.__path__[0])"],
            capture_output=True,
            text=True,
            check=False,
        )
        folder, minor = Path(home.stdout.strip()), int(version.partition(".")[2])
        if home.returncode == 0 and minor != own[1] and is_in(folder, module):
            found.append((minor > own[1], abs(minor - own[1]), version, folder))
    return min(found)[2:] if found else None


def borrow(module):
    """Makes a folder that has this CPython's package `test` and the module of another one.

    Returns the folder and the version of the other one; None if there is none.
    """
    lent = lender(module)
    if lent is None:
        return None
    version, folder = lent
    path = SCRATCH / "borrowed" / module
    shutil.rmtree(path, ignore_errors=True)
    (path / "test").mkdir(parents=True)
    own = Path(importlib.util.find_spec("test").origin).parent
    for source in (*own.iterdir(), folder / module, folder / f"{module}.py"):
        if source.exists() and source.name != "__pycache__":
            (path / "test" / source.name).symlink_to(source)
    return path, version


class Module:
    """One module of tests in one mode, as `Execution` wants it."""

    workplace = None

    def __init__(self, mode, borrowed=None):
        self.mode, self.borrowed = mode, borrowed

    def command(self, module, events, ids):
        """The command that runs the tests `ids` of `test.module`, and writes `events`."""
        program = FOLDER / "record_stdlib.py"
        return [sys.executable, "-u", program, events, self.mode, f"test.{module}", *ids]

    def environment(self):
        """Environment variables for it, besides the present ones."""
        found = {"PYTHONWARNINGS": "ignore"}
        if self.borrowed is not None:
            found["PYTHONPATH"] = str(self.borrowed)
        return found


def outcomes(module, mode, options, borrowed, left_out=()):
    """Outcome and message by id of a test; a test that fails is tried once more, alone."""
    path = SCRATCH / f"{module}-{mode}.json"
    if mode == "plain" and path.exists() and not options.again:
        return json.loads(path.read_text())
    logs = SCRATCH / "logs" / mode
    logs.mkdir(parents=True, exist_ok=True)
    first = Execution(Module(mode, borrowed), module, options.seconds, logs)
    first.log.unlink(missing_ok=True)
    names = [
        name
        for name in first.collect()
        if fnmatchcase(name, options.match) and name not in left_out
    ]
    first.run(names)
    found = {}
    for name, outcome in first.outcomes.items():
        message = first.messages[name]
        if outcome in ("failed", "error", "timeout") and name in names:
            second = Execution(Module(mode, borrowed), module, min(options.seconds, 60), logs)
            second.run([name])
            if second.outcomes.get(name) in ("passed", "skipped"):
                outcome, message = second.outcomes[name], f"at the second try; first: {message}"
        found[name] = [outcome, message]
    if options.match == "*":
        path.write_text(json.dumps(found, indent=1, sort_keys=True))
    return found


def main():
    """Runs the modules that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--again", action="store_true", help="make the plain outcomes again")
    parser.add_argument("--seconds", type=float, default=120, help="for one test (120)")
    parser.add_argument("--match", default="*", metavar="GLOB", help="only tests with such an id")
    options = parser.parse_args()
    differences = Exclusions(FOLDER / "differences.txt")
    begun = time.monotonic()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    counts, unlisted = Counter(), 0
    own = Path(importlib.util.find_spec("test").origin).parent
    for module in options.modules or MODULES:
        borrowed = None
        if not is_in(own, module):
            lent = None if sys.version_info >= REMOVED.get(module, (4,)) else borrow(module)
            if lent is None:
                print(f"{module:28} is not in this CPython", flush=True)
                continue
            borrowed, version = lent
            print(f"{module:28} is not in this CPython; that of {version} is run", flush=True)
        plain = outcomes(module, "plain", options, borrowed)
        bad = {name for name, (outcome, _) in plain.items() if outcome in ("timeout", "crash")}
        patched = outcomes(module, "patched", options, borrowed, bad)
        good = [name for name, (outcome, _) in plain.items() if outcome == "passed"]
        lost = [name for name in good if patched.get(name, ["missing"])[0] != "passed"]
        extra = [name for name in patched if name.startswith("<") and name not in plain]
        counts.update(passed=len(good), lost=len(lost))
        print(f"{module:28} {len(good):5} pass plain, {len(lost)} lost patched", flush=True)
        for name in lost + extra:
            outcome, message = patched.get(name, ["missing", ""])
            reason = differences.reason(f"{TAG}:{module}", name)
            counts[f"lost: {outcome}"] += 1
            if reason is None:
                unlisted += 1
                print(f"   {outcome.upper()} {name}: {message}", flush=True)
    shutil.rmtree(SCRATCH / "work", ignore_errors=True)
    seconds = time.monotonic() - begun
    words = ", ".join(f"{count} {what}" for what, count in counts.items())
    print(
        f"== CPython {sys.version.split()[0]}: {words}; {unlisted} not in differences.txt; {seconds:.0f} s"
    )
    return 1 if unlisted else 0


if __name__ == "__main__":
    sys.exit(main())
