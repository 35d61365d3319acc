"""Debugged by test_debuggers.py. Its argument tells when the debugger is imported and told to listen: "before" the
patch, "after" it, or by "listen", which is `python -m debugpy --listen`."""

# ruff: noqa: E402, RET504 -- the order of imports is what is tested, and lines are stepped through
import sys

how = sys.argv[1]
if how == "before":
    import debugpy

    print("port", debugpy.listen(("127.0.0.1", 0))[1], flush=True)

import eventlet

eventlet.monkey_patch()

import _thread
import threading
import time

from eventlet import tpool

if how != "before":
    import debugpy
if how == "after":
    print("port", debugpy.listen(("127.0.0.1", 0))[1], flush=True)

beats = 0
results = {}
checked = threading.Event()


def beat():
    global beats
    while True:
        time.sleep(0.001)
        beats += 1


def inner(value):
    doubled = value * 2  # in inner
    return doubled


def work(name, cups):
    secret = cups * 7  # in work
    time.sleep(0.02)  # let others run
    secret += inner(cups)  # after the switch
    time.sleep(0.02)
    results[name] = secret


def together():
    both = [eventlet.spawn(work, name, 8) for name in ("one", "other")]
    for each in both:
        each.wait()


eventlet.spawn(beat)
debugpy.wait_for_client()
work("main", 1)
thread = threading.Thread(target=work, args=("thread", 2), name="cook")
thread.start()
thread.join()
eventlet.spawn(work, "spawn", 3).wait()
eventlet.spawn_n(work, "spawn_n", 4)
while "spawn_n" not in results:
    eventlet.sleep(0.001)
eventlet.GreenPool(2).spawn(work, "pool", 5).wait()
_thread.start_new_thread(work, ("_thread", 6))
while "_thread" not in results:
    eventlet.sleep(0.001)
tpool.execute(work, "tpool", 7)
together()
print(sorted(results.items()), flush=True)
