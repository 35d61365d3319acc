"""A client of the Debug Adapter Protocol in small: what an editor does when it debugs, over a socket."""

import json
import socket
import time


class Client:
    """One session with a debugger that listens at *port*. What takes longer than *patience* seconds is an error."""

    def __init__(self, port, patience=20):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=patience)
        self._file = self._socket.makefile("rb")
        self._number = 0
        self._unread = []

    @classmethod
    def when_open(cls, port, patience=20):
        """Return a client of a debugger that will listen at *port*."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return cls(port, patience)
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "nobody listens"
                time.sleep(0.02)

    def close(self):
        """Hang up."""
        self._file.close()
        self._socket.close()

    def send(self, command, **arguments):
        """Send a request and return its number."""
        self._number += 1
        message = {"seq": self._number, "type": "request", "command": command}
        body = json.dumps({**message, "arguments": arguments}).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return self._number

    def _read(self):
        length = 0
        while line := self._file.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "the debugger has closed the connection"
        return json.loads(self._file.read(length))

    def _until(self, **wanted):
        def matches(message):
            return all(message.get(key) == value for key, value in wanted.items())

        for message in self._unread:
            if matches(message):
                self._unread.remove(message)
                return message
        while not matches(message := self._read()):
            self._unread.append(message)
        return message

    def response(self, number):
        """Return the body of the response to the request of this number."""
        message = self._until(type="response", request_seq=number)
        assert message["success"], message
        return message.get("body") or {}

    def ask(self, command, **arguments):
        """Send a request and return the body of its response."""
        return self.response(self.send(command, **arguments))

    def event(self, name):
        """Return the body of the next event of this name."""
        return self._until(type="event", event=name).get("body") or {}

    def attach(self, breakpoints, **options):
        """Begin the session. *breakpoints*: path -> lines; *options*: those of the attach request."""
        self.ask("initialize", adapterID="test", pathFormat="path", clientID="test")
        attached = self.send("attach", **options)
        self.event("initialized")
        for path, lines in breakpoints.items():
            self.set_breakpoints(path, lines)
        self.ask("setExceptionBreakpoints", filters=[])
        self.ask("configurationDone")
        self.response(attached)

    def set_breakpoints(self, path, lines):
        """Have the program stop at these lines of a file, and at no other."""
        wanted = [{"line": line} for line in lines]
        answer = self.ask("setBreakpoints", source={"path": str(path)}, breakpoints=wanted)
        assert all(each["verified"] for each in answer["breakpoints"]), answer

    def stopped(self):
        """Wait until the program stops; return the `Stop`."""
        return Stop(self, self.event("stopped"))

    def threads(self):
        """Return the names of the threads, by number."""
        return {each["id"]: each["name"] for each in self.ask("threads")["threads"]}


class Stop:
    """A place where the program has stopped."""

    def __init__(self, client, event):
        self._client = client
        self.reason = event["reason"]
        self.thread = event["threadId"]
        self.stack = client.ask("stackTrace", threadId=self.thread)["stackFrames"]

    @property
    def function(self):
        """The name of the innermost function."""
        return self.stack[0]["name"]

    @property
    def line(self):
        """The line in it."""
        return self.stack[0]["line"]

    def variables(self):
        """Return the locals of the innermost function: name -> text of the value."""
        scopes = self._client.ask("scopes", frameId=self.stack[0]["id"])["scopes"]
        number = scopes[0]["variablesReference"]
        found = self._client.ask("variables", variablesReference=number)["variables"]
        return {each["name"]: each["value"] for each in found}

    def evaluate(self, expression):
        """Return the text of an expression's value, as the debug console shows it."""
        arguments = {"expression": expression, "frameId": self.stack[0]["id"], "context": "repl"}
        return self._client.ask("evaluate", **arguments)["result"]

    def go(self, command):
        """Go on by a request: "continue", "next", "stepIn" or "stepOut"."""
        self._client.ask(command, threadId=self.thread)

    def step(self, command):
        """Go on, and return the next `Stop`."""
        self.go(command)
        return self._client.stopped()
