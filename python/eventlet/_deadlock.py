"""Whether a hub that waits for nothing is in a deadlock, and the report of it.

The hub asks once (`ext/src/hub/deadlock.rs`), from its own greenlet: nothing here may wait.
`eventlet.debug.hub_deadlock_detection` is the switch.
"""

import os
import signal
import sys

from eventlet import _census


def report(ident):
    """Write a report to `sys.stderr` if nothing can wake the greenlets of this thread any more.

    Called by a hub that has waited for nothing for a while (`eventlet.debug.hub_deadlock_detection`). A
    cycle of locks and ends of green threads is always reported. Otherwise another OS thread or a signal
    handler of the program could still wake somebody, and it counts as idle.
    """
    census = _census.Census()
    others = _other_threads()
    cycle = census.cycle(sure=others)
    members = dict(census.threads).get(ident, [])
    waiting = [m for m in members if m["kind"] != "hub" and m["state"] == "waiting"]
    if not waiting or not cycle and (others or _handles_signals()):
        return
    lines = ["eventlet: deadlock:"]
    for number in cycle:
        lines.append(f"  {census.name(number)} {census.waits(census.by_number[number])}")
    if not cycle:
        where = _census.thread_name(ident)
        lines.append(f"  nothing can wake the greenlets of {where} any more: no timer, descriptor,")
        lines.append("  other OS thread or signal handler is left that could.")
    lines += census.format()
    lines.append("(eventlet.debug.hub_deadlock_detection(False) turns this report off)")
    _census.write("\n".join(lines) + "\n", sys.stderr)


def _other_threads():
    """Whether there are OS threads beside this one, those included that Python does not know."""
    try:
        return len(os.listdir("/proc/self/task")) > 1
    except OSError:
        return len(sys._current_frames()) > 1


def _handles_signals():
    """Whether the program handles a signal itself."""
    handlers = map(signal.getsignal, signal.valid_signals())
    return any(callable(h) and h is not signal.default_int_handler for h in handlers)
