"""Idents of green threads may be passed to the system's functions for threads: an error, and no crash."""

import subprocess
import sys

PROGRAM = """
import eventlet
eventlet.monkey_patch()
import ctypes, signal, threading

idents = []

def work():
    ident = threading.get_ident()
    idents.append(ident)
    try:
        signal.pthread_kill(ident, 0)
    except OSError:
        pass
    else:
        raise AssertionError("there is no such thread")
    name_it = ctypes.CDLL(None).pthread_setname_np  # what trio and others call
    assert name_it(ctypes.c_void_p(ident), b"tea") != 0
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert raise_in(ctypes.c_ulong(ident), ctypes.py_object(KeyError)) == 0

threads = [threading.Thread(target=work) for _ in range(100)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
eventlet.spawn(work).wait()
eventlet.spawn_n(work)
eventlet.sleep(0)
assert len(set(idents)) == 102, idents
assert threading.main_thread().ident not in idents
print("pass")
"""


def test_system_functions_refuse_them():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "pass\n", (done.returncode, done.stderr)
