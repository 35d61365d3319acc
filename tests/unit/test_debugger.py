"""A debugger with a client attached over a socket, in a fully patched process: the real debugpy."""

import importlib.util
import json
import os
import socket
import subprocess
import sys

import pytest

PROGRAM = """
import eventlet
eventlet.monkey_patch()
import threading
import debugpy

def work(cups):
    secret = cups * 7
    return secret  # here

port = debugpy.listen(("127.0.0.1", 0))[1]
print("port", port, flush=True)
debugpy.wait_for_client()
t = threading.Thread(target=lambda: print("result", work(6), flush=True), name="cook")
t.start()
t.join()
"""


@pytest.fixture(scope="session")
def debugpy_folder(tmp_path_factory):
    """The folder that debugpy is in; installed there if the environment has none."""
    if importlib.util.find_spec("debugpy"):
        return os.path.dirname(os.path.dirname(importlib.util.find_spec("debugpy").origin))
    folder = tmp_path_factory.mktemp("debugpy")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "debugpy"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    if done.returncode != 0:
        pytest.skip(f"debugpy cannot be installed: {done.stderr[-200:]}")
    return str(folder)


class Client:
    """A debugger's client in small: requests, responses and events of the Debug Adapter Protocol."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.file = self.sock.makefile("rb")
        self.number = 0
        self.unread = []

    def close(self):
        self.file.close()
        self.sock.close()

    def send(self, command, **arguments):
        self.number += 1
        message = {"seq": self.number, "type": "request", "command": command}
        body = json.dumps({**message, "arguments": arguments}).encode()
        self.sock.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return self.number

    def read(self):
        length = 0
        while line := self.file.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        assert length, "the debugger has closed the connection"
        return json.loads(self.file.read(length))

    def until(self, **wanted):
        def matches(message):
            return all(message.get(key) == value for key, value in wanted.items())

        found = next((m for m in self.unread if matches(m)), None)
        if found:
            self.unread.remove(found)
            return found
        while not matches(message := self.read()):
            self.unread.append(message)
        return message

    def response(self, number):
        message = self.until(type="response", request_seq=number)
        assert message["success"], message
        return message.get("body", {})

    def ask(self, command, **arguments):
        return self.response(self.send(command, **arguments))

    def event(self, name):
        return self.until(type="event", event=name).get("body", {})


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_breakpoint_in_a_green_thread(debugpy_folder, tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    line = PROGRAM[: PROGRAM.index("# here")].count("\n") + 1
    environment = {
        **os.environ,
        "PYTHONPATH": debugpy_folder,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    process = subprocess.Popen(
        [sys.executable, path], stdout=subprocess.PIPE, text=True, env=environment
    )
    client = None
    try:
        client = Client(int(process.stdout.readline().split()[1]))
        client.ask("initialize", adapterID="test", pathFormat="path")
        attached = client.send("attach", justMyCode=False)
        client.event("initialized")
        set_ = client.ask(
            "setBreakpoints", source={"path": str(path)}, breakpoints=[{"line": line}]
        )
        assert set_["breakpoints"][0]["verified"]
        client.ask("configurationDone")
        client.response(attached)
        stopped = client.event("stopped")
        frames = client.ask("stackTrace", threadId=stopped["threadId"])["stackFrames"]
        assert (frames[0]["name"], frames[0]["line"]) == ("work", line)
        names = [thread["name"] for thread in client.ask("threads")["threads"]]
        assert "MainThread" in names and "cook" in names
        shown = client.ask("evaluate", expression="secret", frameId=frames[0]["id"])
        assert shown["result"] == "42"
        client.ask("continue", threadId=stopped["threadId"])
        client.event("terminated")
        assert process.stdout.read().split() == ["result", "42"]
        assert process.wait(20) == 0
    finally:
        if client:
            client.close()
        process.kill()
        process.wait()
        process.stdout.close()
