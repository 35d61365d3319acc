"""Processes under measurement: pinned to a core, ahead of ordinary load where that is allowed.

Invariant: every process started here is ended here, also when a measurement fails.
"""

import contextlib
import json
import os
import re
import resource
import select
import subprocess

ROUND_TIMEOUT = 120  # seconds
HEAVY_TIMEOUT = 1800  # seconds, for a round of a heavy figure
PATH = re.compile(r" ?\(/[^)]*\)")  # as ImportError tells it; has no place in the record
PRIORITY = 10  # SCHED_FIFO, if the user may


class Failed(Exception):
    """A measured program ended, hung, or printed nonsense; the text says which and why."""


def cores():
    """The cores this process may use, in order."""
    return sorted(os.sched_getaffinity(0))


def _prepare(core):
    """Runs in the child before exec: pins it, raises its priority and its descriptor limit."""
    os.sched_setaffinity(0, {core})
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def environment():
    """The environment of measured programs: this one without what changes Python's behaviour."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore"}


def start(command, core, cwd=None):
    """Starts a command on ``core`` with pipes to its standard input, output and error."""
    return subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: _prepare(core),
        env=environment(),
        cwd=cwd,
    )


def read_line(process, timeout=ROUND_TIMEOUT):
    """The next line of a process, decoded."""
    if not select.select([process.stdout], [], [], timeout)[0]:
        raise Failed(f"no answer within {timeout} s")
    line = process.stdout.readline()
    if not line:
        process.kill()
        complaint = process.stderr.read().decode(errors="replace").strip().splitlines()
        reason = complaint[-1] if complaint else f"exit status {process.wait()}"
        raise Failed(f"it ended: {PATH.sub('', reason)}")
    return line.decode()


def end(process):
    """Ends a process and closes its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(OSError):
            pipe.close()


class Worker:
    """One benchmark of one implementation, ready to run rounds."""

    def __init__(self, python, folder, figure, core, *arguments):
        script = folder / "work" / f"{figure.script}.py"
        self.process = start([python, script, figure.work, *arguments], core)
        self.timeout = HEAVY_TIMEOUT if figure.heavy else ROUND_TIMEOUT

    def wait_ready(self):
        """Returns when the program has prepared its state and warmed up."""
        self._answer()

    def round(self):
        """Runs one round and returns its figure (ns or bytes per operation)."""
        try:
            self.process.stdin.write(b"go\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer says why
        return self._answer()["value"]

    def _answer(self):
        return json.loads(read_line(self.process, self.timeout))

    def close(self):
        """Ends the program."""
        end(self.process)
