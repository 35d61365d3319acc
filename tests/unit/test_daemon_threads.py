"""The process ends in order while daemon threads of the system are inside of native functions.

CPython before 3.14 ends such a thread where it asks for the interpreter's lock: below frames of ours, then.
"""

import subprocess
import sys

import pytest

PROGRAM = """
import time
import eventlet
from eventlet import hubs, tpool
from eventlet.green import select, socket
from eventlet.patcher import original

threading = original("threading")
started = threading.Semaphore(0)

def sleep_in_python():
    while True:
        started.release()
        time.sleep(0.0005)

{work}

class Slow:
    def __del__(self, clock=time.perf_counter):
        until = clock() + 0.1  # the threads want to go on meanwhile
        while clock() < until:
            pass

slow = Slow()
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
for _ in range(8):
    started.acquire()
print("end", flush=True)
"""

WORK = {
    "hub_sleeps": """
def work():
    while True:
        started.release()
        eventlet.sleep(0.0005)
""",
    "hub_polls_a_socket": """
def work():
    ends = socket.socketpair()
    ends[0].settimeout(0.0005)
    while True:
        started.release()
        try:
            ends[0].recv(1)
        except TimeoutError:
            pass
""",
    "green_thread_blocks": """
def work():
    eventlet.spawn(sleep_in_python).wait()
""",
    "timer_blocks": """
def work():
    hubs.get_hub().schedule_call_global(0, sleep_in_python)
    eventlet.sleep(60)
""",
    "link_blocks": """
def work():
    g = eventlet.spawn(int)
    g.link(lambda _: sleep_in_python())
    eventlet.sleep(60)
""",
    "greenlet_blocks": """
import greenlet
def work():
    greenlet.greenlet(sleep_in_python).switch()
""",
    "pool_runs": """
def work():
    while True:
        started.release()
        tpool.execute(time.sleep, 0.0005)
""",
    "native_method_of_a_socket": """
socketpair = original("socket").socketpair
def work():
    ends = socketpair()
    ends[0].settimeout(0.0005)
    while True:
        started.release()
        try:
            ends[0].recv(1)
        except TimeoutError:
            pass
""",
}


@pytest.mark.parametrize("name", WORK)
@pytest.mark.parametrize("patched", [False, True], ids=["plain", "patched"])
def test_end_of_a_process_with_busy_daemon_threads(name, patched):
    program = PROGRAM.format(work=WORK[name])
    if patched:
        program = "import eventlet; eventlet.monkey_patch()\n" + program
        program = program.replace("time.sleep(0.0005)", "original('time').sleep(0.0005)")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=40
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
