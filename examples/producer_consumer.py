"""Producers and consumers on a bounded queue: who finds it full or empty waits, and the others go on.

python examples/producer_consumer.py --items 20
"""

import argparse
import sys

import eventlet


def produce(queue, name, count):
    for number in range(count):
        queue.put((name, number))  # waits while the queue is full


def consume(queue, name, taken):
    while (item := queue.get()) is not None:  # waits while the queue is empty
        taken.append(item)
        eventlet.sleep(0.001)  # the work
        print(f"{name} has done {item[0]}'s item {item[1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=20, help="of each of the two producers")
    parser.add_argument("--consumers", type=int, default=3)
    options = parser.parse_args()

    queue, taken = eventlet.Queue(5), []
    producers = [eventlet.spawn(produce, queue, name, options.items) for name in ("Ada", "Bob")]
    consumers = [
        eventlet.spawn(consume, queue, f"worker {n}", taken) for n in range(options.consumers)
    ]
    for producer in producers:
        producer.wait()
    for _ in consumers:
        queue.put(None)  # one stop sign for each
    for consumer in consumers:
        consumer.wait()
    print(f"{len(taken)} items, {len(set(taken))} different")
    return 0 if len(set(taken)) == 2 * options.items else 1


if __name__ == "__main__":
    sys.exit(main())
