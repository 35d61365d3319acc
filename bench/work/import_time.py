"""CPU time of ``import eventlet`` in a fresh process, alone and with `monkey_patch`, in nanoseconds.

One measurement per process.

Invariant: what the meter itself imports is there before the first clock reading, for both
implementations alike.
"""

import time

import meter


def importing():
    """Times the first import."""

    def run(_):
        start = time.process_time_ns()
        import eventlet

        took = time.process_time_ns() - start
        assert eventlet.sleep
        return took

    return run


def patching():
    """Times the first import together with patching everything that is on by default."""

    def run(_):
        start = time.process_time_ns()
        import eventlet

        eventlet.monkey_patch()
        took = time.process_time_ns() - start
        assert eventlet.sleep is time.sleep
        return took

    return run


meter.main(
    {
        "import": meter.Work(importing, direct=True),
        "patch": meter.Work(patching, direct=True),
    }
)
