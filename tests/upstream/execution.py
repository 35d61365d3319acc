"""Runs one file of a suite in processes of its own, whatever the tests do to their process.

A test that crashes or hangs costs only itself: it is recorded as such, and the tests that had not
run yet get a new process.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path


def last_error(output):
    """The line of pytest's output that says why nothing could be collected."""
    errors = [line for line in output.splitlines() if line.startswith("E ")]
    return errors[-1].removeprefix("E ") if errors else output


class Execution:
    """The outcomes of the tests of one file: `outcomes` and `messages`, by id of the test.

    One that takes more than `seconds` is a timeout.
    """

    def __init__(self, suite, file, seconds, logs):
        self.suite, self.file, self.seconds = suite, file, seconds
        self.log = logs / f"{file}.log"
        self.outcomes, self.messages = {}, {}

    def run(self, ids):
        """Runs these tests."""
        while left := [name for name in ids if name not in self.outcomes]:
            before = len(self.outcomes)
            self._run_once(left)
            if len(self.outcomes) == before:  # it died before its first test, or after its last
                for name in left:
                    self._note(name, "crash", "the process ended before this test was run")

    def collect(self):
        """Ids of all tests of the file; importing it may fail, which is an outcome too."""
        done = subprocess.run(
            [str(part) for part in self.suite.command(self.file, "--list", [])],
            env={**os.environ, **self.suite.environment()},
            cwd=self.suite.workplace,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=self.seconds,
            check=False,
        )
        found = [line[3:] for line in done.stdout.splitlines() if line.startswith("id ")]
        if done.returncode:
            reason = done.stderr if done.stderr.strip() else last_error(done.stdout)
            self._note("<collection>", "crash" if done.returncode < 0 else "error", reason)
        return found

    def _note(self, name, outcome, message=""):
        self.outcomes[name] = outcome
        self.messages[name] = (message.strip().splitlines() or [""])[-1][:300]

    def _run_once(self, ids):
        with tempfile.TemporaryDirectory() as folder, open(self.log, "ab") as log:
            events = Path(folder) / "events"
            process = subprocess.Popen(
                [str(part) for part in self.suite.command(self.file, events, ids)],
                env={**os.environ, **self.suite.environment()},
                cwd=self.suite.workplace or folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            hung = False
            try:
                code = self._wait(process, events)
            except subprocess.TimeoutExpired:
                hung = True
                code = self._end(process)
            self._read(events, code, hung)

    def _wait(self, process, events):
        """Status of the process; TimeoutExpired if nothing was written for `seconds`."""
        begun, known = time.monotonic(), None
        while True:
            size = events.stat().st_size if events.exists() else None
            if size != known:
                begun, known = time.monotonic(), size
            try:
                return process.wait(min(1, self.seconds))
            except subprocess.TimeoutExpired:
                if time.monotonic() - begun > self.seconds:
                    raise

    @staticmethod
    def _end(process):
        # faulthandler prints where every thread is, before the whole session is ended.
        for number in (signal.SIGABRT, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                return process.wait(5)
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                break
        return process.wait()

    def _read(self, events, code, hung):
        running, done = None, False
        for line in events.read_text().splitlines() if events.exists() else ():
            event = json.loads(line)
            if "start" in event:
                running = event["start"]
            elif "end" in event:
                running = None
                self._note(event["end"], event["outcome"], event["message"])
            else:
                done = True
        if hung:
            self._note(running or "<exit>", "timeout", f"not finished after {self.seconds} s")
        elif code < 0:
            name = signal.Signals(-code).name
            self._note(running or "<exit>", "crash", f"killed by {name}")
        elif running or not done:
            self._note(running or "<exit>", "crash", f"the process ended with status {code}")
