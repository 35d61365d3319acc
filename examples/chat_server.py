"""A chat: every line that somebody sends goes to everybody else. Use `nc` or telnet as client.

python examples/chat_server.py --port 3001
"""

import argparse

import eventlet


class Room:
    """The people who are in it: name -> socket."""

    def __init__(self):
        self.people = {}

    def tell(self, text, but=None):
        """Send a line to everybody but one; who cannot be reached is left out."""
        for name, conn in list(self.people.items()):
            if name != but:
                try:
                    conn.sendall(text.encode() + b"\n")
                except OSError:
                    self.people.pop(name, None)

    def visit(self, conn, name):
        """One person's stay, in a green thread of its own."""
        self.people[name] = conn
        self.tell(f"* {name} has come", but=name)
        try:
            for line in conn.makefile("r", encoding="utf-8", errors="replace"):
                self.tell(f"{name}: {line.rstrip()}", but=name)
        except OSError:
            pass  # gone without a word
        finally:
            self.people.pop(name, None)
            conn.close()
            self.tell(f"* {name} has left")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=3001, help="0: one that is free")
    parser.add_argument("--guests", type=int, help="end when so many have come and gone")
    options = parser.parse_args()

    server = eventlet.listen(("127.0.0.1", options.port))
    print(f"chat server on port {server.getsockname()[1]}", flush=True)
    room, pool, count = Room(), eventlet.GreenPool(), 0
    while options.guests is None or count < options.guests:
        conn, _ = server.accept()
        count += 1
        pool.spawn_n(room.visit, conn, f"guest{count}")
    pool.waitall()
    print("everybody has left")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("stopped")
