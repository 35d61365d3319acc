"""Work for later: spawn_after starts a green thread after so many seconds, and may be cancelled until then.

python examples/ticker.py --ticks 5 --interval 0.5
"""

import argparse
import time

import eventlet


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=5)
    parser.add_argument("--interval", type=float, default=0.5, help="seconds")
    options = parser.parse_args()

    done = eventlet.Event()

    def tick(number):
        late = time.monotonic() - start - number * options.interval
        print(f"tick {number} ({late * 1000:.1f} ms late)")
        if number == options.ticks:
            done.send(number)
        else:
            until_next = start + (number + 1) * options.interval - time.monotonic()
            eventlet.spawn_after(until_next, tick, number + 1)

    start = time.monotonic()
    eventlet.spawn_after(options.interval, tick, 1)
    never = eventlet.spawn_after(options.interval / 2, print, "this is not printed")
    never.cancel()
    print(f"{done.wait()} ticks in {time.monotonic() - start:.2f} seconds")


if __name__ == "__main__":
    main()
