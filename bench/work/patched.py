"""In a patched process: `threading.Thread` start + join, `subprocess.run` of a program that prints a word.

Invariant: only the CPU time of this process counts, not that of the programs it starts.
"""

import eventlet

eventlet.monkey_patch()

import subprocess  # noqa: E402
import threading  # noqa: E402

import meter  # noqa: E402


def thread():
    """One operation: a thread that does nothing is started and joined."""

    def run(n):
        for _ in range(n):
            started = threading.Thread(target=int)
            started.start()
            started.join()

    return run


def process():
    """One operation: a program is started, its output read and its end waited for."""

    def run(n):
        for _ in range(n):
            child = subprocess.Popen(["/bin/echo", "word"], stdout=subprocess.PIPE)
            if child.communicate()[0] != b"word\n":
                raise SystemExit("the output is lost")

    return run


meter.main({"thread": meter.Work(thread), "process": meter.Work(process)})
