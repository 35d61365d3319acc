"""As record.py, for a file of tests that pytest runs.

    python record_pytest.py EVENTS FILE [ID...]     only the tests with these ids, if any are named
    python record_pytest.py --list FILE             prints the ids

An id is what pytest calls the test, without the file: "Class::method" or "function". pytest reads no
configuration but the conftest.py of the suite.
"""

import sys

import pytest
import record

OPTIONS = ("-v", "-c", "/dev/null", "--rootdir", ".", "-p", "no:cacheprovider", "-p", "no:timeout")


def identify(nodeid):
    """The id of a test, without the name of its file."""
    return nodeid.partition("::")[2] or nodeid


class Recorder:
    """A plugin that passes each outcome on to the events file; of several for one test, the worst."""

    def __init__(self, path):
        self.events = record.Events(path)

    def pytest_runtest_logstart(self, nodeid, location):
        self.outcome, self.message = "passed", ""
        self.events.write(start=identify(nodeid))

    def pytest_runtest_logreport(self, report):
        outcome = report.outcome
        if outcome == "failed" and report.when != "call":
            outcome = "error"
        if record.RANK.index(outcome) > record.RANK.index(self.outcome):
            crash = getattr(report.longrepr, "reprcrash", None)
            text = crash.message if crash else str(report.longrepr)
            self.outcome, self.message = outcome, text.strip().partition("\n")[0][:200]

    def pytest_runtest_logfinish(self, nodeid, location):
        self.events.write(end=identify(nodeid), outcome=self.outcome, message=self.message)


class Lister:
    """A plugin that prints the ids of what was collected."""

    @staticmethod
    def pytest_collection_finish(session):
        print(*(f"\nid {identify(item.nodeid)}" for item in session.items), sep="", flush=True)


def main():
    """Runs or lists; always ends with status 0 if that could be done."""
    events, file, *wanted = sys.argv[1:]
    del sys.argv[1:]
    if events == "--list":
        status = pytest.main([*OPTIONS, "-q", "--collect-only", file], [Lister()])
        return 0 if status in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) else 1
    recorder = Recorder(events)
    status = pytest.main([*OPTIONS, *([f"{file}::{id}" for id in wanted] or [file])], [recorder])
    if status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        recorder.events.write(done=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
