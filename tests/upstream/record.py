"""Runs one module of unittest tests and writes each event to a file at the moment it happens.

    python record.py EVENTS MODULE [ID...]      only the tests with these ids, if any are named
    python record.py --list MODULE              prints the ids

One JSON object in a line: {"start": id}, {"end": id, "outcome": ..., "message": ...} or {"done": true}.
Whoever reads them knows after a crash which test was running. An id is "Class::method". Runs inside
the process under test, so it imports little and never the package under test.
"""

import json
import os
import sys
import unittest

RANK = ("passed", "skipped", "failed", "error")


class Events:
    """The events file; written by the process that opened it only, not by forked children."""

    def __init__(self, path):
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
        self.owner = os.getpid()

    def write(self, **event):
        """Appends one event at once."""
        if os.getpid() == self.owner:
            os.write(self.descriptor, json.dumps(event).encode() + b"\n")


def identify(test):
    """The id of a test, without the name of the module, which is the caller's argument."""
    return f"{type(test).__qualname__}::{getattr(test, '_testMethodName', 'runTest')}"


def flat(suite):
    """The tests of a suite of suites."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield test


def did_not_leak(error):
    """Some tests demand that their subject leaks, as upstream's does. Not leaking is no failure."""
    kind, value, _ = error
    return kind.__name__ == "LeakCheckError" and "to leak but it did not" in str(value)


class Result(unittest.TextTestResult):
    """Passes each outcome on to the events file; of several for one test, the worst."""

    events = None

    def startTest(self, test):
        self.outcome, self.message = "passed", ""
        self.events.write(start=identify(test))
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        self.events.write(end=identify(test), outcome=self.outcome, message=self.message)

    def note(self, outcome, error):
        """Keeps the outcome if it is worse than what is known."""
        if RANK.index(outcome) > RANK.index(getattr(self, "outcome", "passed")):
            text = error if isinstance(error, str) else f"{error[0].__name__}: {error[1]}"
            self.outcome, self.message = outcome, text.strip().partition("\n")[0][:200]

    def addFailure(self, test, error):
        if did_not_leak(error):
            super().addSuccess(test)
            return
        self.note("failed", error)
        super().addFailure(test, error)

    def addError(self, test, error):
        if did_not_leak(error):
            super().addSuccess(test)
            return
        self.note("error", error)
        super().addError(test, error)
        if not isinstance(test, unittest.TestCase):  # setUpClass and the like
            self.events.write(end=str(test), outcome="error", message=str(error[1])[:200])

    def addSkip(self, test, reason):
        self.note("skipped", reason)
        super().addSkip(test, reason)

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.note("failed" if issubclass(error[0], test.failureException) else "error", error)
        super().addSubTest(test, subtest, error)


def main():
    """Runs the module; always ends with status 0 if it could be run to its end."""
    path, module, *wanted = sys.argv[1:]
    del sys.argv[1:]
    tests = list(flat(unittest.defaultTestLoader.loadTestsFromName(module)))
    if path == "--list":
        print(*(f"\nid {identify(test)}" for test in tests), sep="", flush=True)
        return
    Result.events = Events(path)
    suite = unittest.TestSuite(t for t in tests if not wanted or identify(t) in wanted)
    del tests
    unittest.TextTestRunner(verbosity=2, resultclass=Result).run(suite)
    Result.events.write(done=True)


if __name__ == "__main__":
    main()
