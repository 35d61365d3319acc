"""Runs upstream's test-suites against the greenlet and eventlet of this interpreter.

    python tests/upstream/run.py [SUITE...] [--files GLOB] [--excluded] [--seconds N]

Each file has a process of its own, and a new one after a crash. A test that fails is run once more,
alone: upstream's suites know deadlines that a busy machine can miss. Exits with 1 if a test that is
not excluded fails, crashes or hangs, or if a line of the list of excluded tests matches no test.
"""

import argparse
import shutil
import sys
import time
from collections import Counter
from fnmatch import fnmatchcase

import suites
from exclusions import Exclusions
from execution import Execution

GOOD = ("passed", "skipped")


def run_file(suite, file, exclusions, options, logs):
    """Runs a file; yields (id, outcome, message, whether only the second try passed)."""
    first = Execution(suite, file, options.seconds, logs)
    names = first.collect()
    wanted = [n for n in names if (exclusions.reason(file, n) is not None) == options.excluded]
    first.run(wanted)
    for name, outcome in first.outcomes.items():
        message, again = first.messages[name], False
        if outcome in ("failed", "error") and name in names and not options.excluded:
            second = Execution(suite, file, options.seconds, logs)
            second.run([name])
            if again := second.outcomes.get(name) in GOOD:
                outcome = second.outcomes[name]
        yield name, outcome, message, again


def run_suite(suite, options):
    """Runs a suite and prints what did not pass; true if nothing is wrong."""
    begun = time.monotonic()
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"== {suite.name} {suite.version}, its own tests, on CPython {python}", flush=True)
    suite.prepare()
    logs = suites.SCRATCH / f"logs-{suite.name}-{suites.TAG}"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    exclusions = Exclusions(suites.FOLDER / f"{suite.name}-excluded.txt")
    files = [file for file in suite.files() if fnmatchcase(file, options.files)]
    counts, bad = Counter(), 0
    for file in files:
        own = Counter()
        for name, outcome, message, again in run_file(suite, file, exclusions, options, logs):
            own[outcome] += 1
            if outcome not in GOOD:
                bad += 1
                print(f"   {outcome.upper()} {file}::{name}: {message}")
            elif again:
                print(f"   {outcome} at the second try {file}::{name}: {message}")
        print(f"{file:32} {report(own)}", flush=True)
        counts += own
    unused = exclusions.unused() if options.files == "*" else []
    for pattern in unused:
        print(f"   {exclusions.path.name}: {pattern} matches no test")
    excluded = "" if options.excluded else f", {len(exclusions.used)} lines of exclusions"
    seconds = time.monotonic() - begun
    print(f"== {suite.name}: {report(counts)}{excluded}; {seconds:.0f} s; logs in {logs}")
    return not bad and not unused


def report(counts):
    """The counts in words."""
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no tests"


def main():
    """Runs the suites that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", choices=[[], *suites.SUITES], metavar="SUITE")
    parser.add_argument("--files", default="*", metavar="GLOB", help="only these files")
    parser.add_argument("--excluded", action="store_true", help="run what is left out otherwise")
    parser.add_argument("--seconds", type=float, default=120, help="for one test (120)")
    options = parser.parse_args()
    good = True
    for name in options.suites or suites.SUITES:
        try:
            good = run_suite(suites.SUITES[name](), options) and good
        except suites.SetupError as error:
            print(f"{name}: cannot be run here: {error}", file=sys.stderr)
            good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
