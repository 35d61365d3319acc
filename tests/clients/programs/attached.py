"""Debugged by test_debuggers.py once it runs. Its argument tells how the debugger gets in: by "signal", whose handler
listens, in a "green" thread, which does, or by "pid", from outside."""

# ruff: noqa: E402 -- the patch comes first
import signal
import sys

import eventlet

eventlet.monkey_patch()

import threading
import time

how = sys.argv[1]
over = False
rounds = {}


def work(name, cups):
    secret = cups * 7  # in work
    time.sleep(0.02)
    secret += 1  # after the switch
    return secret


def keep_working(name, cups):
    while not over:
        rounds[name] = work(name, cups)
        time.sleep(0.02)


def begin(name, cups):
    threading.Thread(target=keep_working, args=(name, cups), name=name).start()


def listen(*_):
    import debugpy

    print("port", debugpy.listen(("127.0.0.1", 0))[1], flush=True)
    debugpy.wait_for_client()


begin("thread", 1)
eventlet.spawn(keep_working, "spawned", 2)
while len(rounds) < 2:
    time.sleep(0.01)
if how == "signal":
    signal.signal(signal.SIGUSR1, listen)
elif how == "green":
    eventlet.spawn(listen)
print("ready", flush=True)
while not over:
    time.sleep(0.01)
print(sorted(rounds.items()), flush=True)
