"""Text about every green thread of every OS thread: what it does, since when, and what it waits for.

The facts come from the native `greenlet._core.census`; this module only words them. `eventlet.debug`
has the public functions. Nothing here waits: it may run in a signal handler and in a hub.
"""

import linecache
import os
import posix
import re
import socket
import sys
import threading

from greenlet import _core

# "waits for ..." where the noun alone would not be English.
_PHRASES = {"sleep": "sleeps", "switch": "waits for a switch", "kill": "waits for its turn"}

_OWNER = re.compile(r"<locked _thread\.RLock object owner=(\d+) ")


class Census:
    """The greenlets of all OS threads at one moment.

    *frame* is where the calling greenlet counts as being; None for nowhere.
    """

    def __init__(self, frame=None):
        self.threads = _core.census()
        self.by_number = {m["number"]: m for _, members in self.threads for m in members}
        self._by_ident = {m["ident"]: m["number"] for m in self.by_number.values()}
        self._frame = frame
        self._frames = sys._current_frames()
        self._own = _core.getcurrent()

    def frame_of(self, ident, member):
        """The innermost frame of a greenlet, or None."""
        if member["state"] != "running":
            return member["greenlet"].gr_frame
        return self._frame if member["greenlet"] is self._own else self._frames.get(ident)

    def title(self, ident, member):
        """What to call a greenlet: its class, number, and function."""
        kind = member["kind"]
        if kind.startswith("green"):
            kind = type(member["greenlet"]).__name__
        function = member["function"]
        if function is None:
            code = _outermost(self.frame_of(ident, member))
            name = code and getattr(code, "co_qualname", code.co_name)
            if member["kind"] == "main greenlet":
                name = None
        else:
            name = getattr(function, "__qualname__", None) or repr(function)
        known = threading._active.get(member["ident"])
        if known is not None and member["kind"] not in ("main greenlet", "hub"):
            name = f"{name}, thread {known.name}" if name else f"thread {known.name}"
        return f"{kind} #{member['number']}" + (f" ({name})" if name else "")

    def name(self, number):
        """The title of the greenlet with this number, which may have ended."""
        for ident, members in self.threads:
            for member in members:
                if member["number"] == number:
                    return self.title(ident, member)
        return f"#{number}, which has ended"

    def doing(self, member):
        """What a greenlet does, in words."""
        left, state = member["seconds_left"], member["state"]
        if state == "new":
            return "starts in the next turn" if left is None else f"starts in {_seconds(left)}"
        if state != "waiting":
            return {"ready": "is ready to run", "switched": "has switched to another"}.get(
                state, state
            )
        text = self.waits(member)
        if left is not None:
            text += f", {_seconds(left)} left"
        if member["parked"] is not None:
            text += f", for {_seconds(member['parked'])} now"
        return text

    def waits(self, member):
        """What a waiting greenlet waits for, in words."""
        noun, awaited, holder = member["waits_for"], member["object"], self.holder(member)
        if member["descriptor"] is not None:
            return f"waits to {noun} {_descriptor(member['descriptor'])}"
        if noun.startswith("end of"):
            return (
                f"waits for the end of {self.name(holder)}" if holder else f"waits for the {noun}"
            )
        text = _PHRASES.get(noun, f"waits for {_article(noun)} {noun}")
        if awaited is not None:
            text = f"waits for {_shown(awaited)}"
            if noun == "place in a pool":
                text = f"waits for a place in a pool: {_shown(awaited)}"
        if holder:
            text += f", taken by {self.name(holder)}"
        return text

    def holder(self, member):
        """The number of who has what a waiting greenlet waits for, None if nobody knows."""
        if member["holder"] or member["object"] is None:
            return member["holder"]
        owner = _OWNER.match(_shown(member["object"]))  # an RLock of the interpreter
        return self._by_ident.get(int(owner[1])) if owner else None

    def format(self):
        """The whole text, a line per list item."""
        return [line for ident, members in self.threads for line in self.thread(ident, members)]

    def thread(self, ident, members):
        """The lines about one OS thread."""
        shown = [m for m in members if m["kind"] != "hub"]
        counts = {}
        for member in shown:
            counts[member["state"]] = counts.get(member["state"], 0) + 1
        summary = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        hub = any(m["kind"] == "hub" and m["state"] == "running" for m in members)
        idle = "; its hub runs or waits for the kernel" if hub else ""
        lines = [f"OS thread {thread_name(ident)} (ident {ident}): {summary}{idle}"]
        return [*lines, *(line for m in shown for line in self.member(ident, m))]

    def member(self, ident, member):
        """The lines about one greenlet."""
        lines = [f"  {self.title(ident, member)} {_is(self.doing(member))}"]
        origin = []
        if member["age"] is not None:
            origin.append(f"{_seconds(member['age'])} ago")
        if member["spawner"]:
            origin.append(f"by {self.name(member['spawner'])}")
        if origin:
            lines.append(f"    spawned {' '.join(origin)}")
        born = vars(member["greenlet"]).get("_spawn_stack")
        if born:
            lines += ["    where it was spawned:", *_lines(reversed(born), "      ")]
        stack = _lines(_places(self.frame_of(ident, member)), "      ")
        return [*lines, "    where it is:", *stack] if born and stack else lines + stack

    def cycle(self, sure=False):
        """The numbers of greenlets of which each waits, without a timeout, for the next; [] if there is none.

        With *sure* only locks and ends of green threads count, which nobody else can give.
        """
        following = {
            number: self.holder(member)
            for number, member in self.by_number.items()
            if member["state"] == "waiting"
            and self.holder(member) in self.by_number
            and member["seconds_left"] is None
            and not (sure and member["waits_for"] not in ("lock", "end of a green thread"))
        }
        for start in following:
            path, number = [], start
            while number in following and number not in path:
                path.append(number)
                number = following[number]
            if number in path:
                return path[path.index(number) :]
        return []


def _is(text):
    return text if " " in text or text.endswith("s") else f"is {text}"


def _article(noun):
    return "an" if noun[0] in "aeiou" else "a"


def _seconds(seconds):
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _shown(awaited):
    try:
        return repr(awaited)
    except Exception as error:
        return f"<{type(awaited).__name__} at {id(awaited):#x}: repr() failed: {error!r}>"


def thread_name(ident):
    """What `threading` calls an OS thread."""
    known = threading._active.get(ident)
    return known.name if known is not None else "unknown to threading"


def _descriptor(fd):
    """A descriptor and what it is: file, pipe, or socket with both its addresses."""
    try:
        target = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return f"descriptor {fd}"
    if not target.startswith("socket:"):
        return f"descriptor {fd} ({target})"
    try:
        copy = _Socket(fileno=os.dup(fd))
    except OSError:
        return f"descriptor {fd} (a socket)"
    with_addresses = [f"{word} {address}" for word, address in _addresses(copy)]
    copy.close()
    return f"descriptor {fd} ({', '.join(['socket', *with_addresses])})"


_Socket = socket.socket.__mro__[1]  # the C class, which a patched module still derives from


def _addresses(sock):
    for word, ask in (("at", sock.getsockname), ("peer", sock.getpeername)):
        try:
            address = ask()
        except OSError:
            continue
        if address:
            shown = ":".join(map(str, address[:2])) if isinstance(address, tuple) else address
            yield word, shown


def _places(frame):
    """The (code, line) of each frame of a stack, the outermost first."""
    places = []
    while frame is not None:
        places.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return reversed(places)


def _outermost(frame):
    code = None
    while frame is not None:
        code, frame = frame.f_code, frame.f_back
    return code


def _lines(places, indent):
    lines = []
    for code, number in places:
        lines.append(f'{indent}File "{code.co_filename}", line {number}, in {code.co_name}')
        text = linecache.getline(code.co_filename, number or 0).strip()
        if text:
            lines.append(f"{indent}  {text}")
    return lines


def write(text, file):
    """Write *text* to *file* (None is `sys.stderr`), past green files where it can.

    Whoever writes here may be a hub or a signal handler, which must not wait in a green thread.
    """
    file = sys.stderr if file is None else file
    if file is None:
        return
    encoding = getattr(file, "encoding", None) or "utf-8"
    data = text.encode(encoding, "backslashreplace")
    try:
        file.flush()
        descriptor = file.fileno()
        while data:
            data = data[posix.write(descriptor, data) :]
    except (AttributeError, ValueError, OSError):
        file.write(data.decode(encoding, "replace"))
