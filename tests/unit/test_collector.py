"""The cyclic collector may run at every allocation, also in the middle of making one of our objects."""

import gc

import eventlet
import pytest
from eventlet import event, greenpool, hubs, lock, queue, semaphore

MAKERS = {
    "Event": event.Event,
    "Semaphore": semaphore.Semaphore,
    "BoundedSemaphore": semaphore.BoundedSemaphore,
    "CappedSemaphore": lambda: semaphore.CappedSemaphore(1, 2),
    "Lock": lock.Lock,
    "LightQueue": queue.LightQueue,
    "PriorityQueue": queue.PriorityQueue,
    "GreenPool": greenpool.GreenPool,
    "GreenPile": greenpool.GreenPile,
    "Timeout": eventlet.Timeout,
    "Timer": lambda: hubs.timer.Timer(1, len),
    "schedule_call_global": lambda: hubs.get_hub().schedule_call_global(60, len),
    "schedule_call_local": lambda: hubs.get_hub().schedule_call_local(60, len),
}


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_collection_at_every_allocation(name):
    make = MAKERS[name]
    old = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        kept = [make() for _ in range(50)]
    finally:
        gc.set_threshold(*old)
    for each in kept:
        if name.startswith("schedule"):
            each.cancel()


class Node:
    pass


@pytest.mark.parametrize("name", ["Event", "Semaphore", "Lock", "LightQueue", "GreenPool"])
def test_attributes_may_be_set_and_their_cycles_are_collected(name):
    made = MAKERS[name]()
    made.node = Node()
    made.node.back = made
    seen = [each for each in gc.get_objects() if isinstance(each, Node)]
    assert len(seen) == 1
    del made, seen
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Node)]
