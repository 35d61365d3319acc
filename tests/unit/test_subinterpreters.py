"""Another interpreter in a patched process: builtins are shared with it, and block there as ever."""

import subprocess
import sys

PROGRAM = """
import eventlet
eventlet.monkey_patch()
import sys
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    other = interpreters.create("legacy")  # one that may start threads
else:
    import _xxsubinterpreters as interpreters
    other = interpreters.create(isolated=False)
interpreters.run_string(other, '''
import threading, time
lock = threading.Lock()
seen = []
def work():
    with lock:
        time.sleep(0.01)
        seen.append(threading.get_native_id())
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(seen) == 3, seen
''')
interpreters.destroy(other)
done = []
eventlet.spawn(done.append, 1)
eventlet.sleep(0)
print("pass" if done else "the hub is broken")
"""


def test_threads_and_locks_of_another_interpreter_are_native():
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "pass\n", (done.returncode, done.stderr[-2000:])
