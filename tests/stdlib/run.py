"""Runs CPython's own tests of what `monkey_patch()` touches, plain and patched, and compares.

    python tests/stdlib/run.py [MODULE...] [--again] [--seconds N] [--match GLOB]

A test that passes plain and not patched is *lost*. Each loss must stand in differences.txt with its
reason; any other is an error (status 1). Outcomes are kept under .scratch/stdlib: the plain ones are
made once, or with --again. Modules that a version of CPython lacks are passed over.
"""

import argparse
import importlib.util
import json
import shutil
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


class Module:
    """One module of tests in one mode, as `Execution` wants it."""

    workplace = None

    def __init__(self, mode):
        self.mode = mode

    def command(self, module, events, ids):
        """The command that runs the tests `ids` of `test.module`, and writes `events`."""
        program = FOLDER / "record_stdlib.py"
        return [sys.executable, "-u", program, events, self.mode, f"test.{module}", *ids]

    def environment(self):
        """Environment variables for it, besides the present ones."""
        return {"PYTHONWARNINGS": "ignore"}


def outcomes(module, mode, options):
    """Outcome and message by id of a test; a test that fails is tried once more, alone."""
    path = SCRATCH / f"{module}-{mode}.json"
    if mode == "plain" and path.exists() and not options.again:
        return json.loads(path.read_text())
    logs = SCRATCH / "logs" / mode
    logs.mkdir(parents=True, exist_ok=True)
    first = Execution(Module(mode), module, options.seconds, logs)
    first.log.unlink(missing_ok=True)
    names = [name for name in first.collect() if fnmatchcase(name, options.match)]
    first.run(names)
    found = {}
    for name, outcome in first.outcomes.items():
        message = first.messages[name]
        if outcome in ("failed", "error", "timeout") and name in names:
            second = Execution(Module(mode), module, min(options.seconds, 60), logs)
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
    parser.add_argument("--seconds", type=float, default=300, help="for one process (300)")
    parser.add_argument("--match", default="*", metavar="GLOB", help="only tests with such an id")
    options = parser.parse_args()
    differences = Exclusions(FOLDER / "differences.txt")
    begun = time.monotonic()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    counts, unlisted = Counter(), 0
    for module in options.modules or MODULES:
        if importlib.util.find_spec(f"test.{module}") is None:
            continue
        plain = outcomes(module, "plain", options)
        patched = outcomes(module, "patched", options)
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
