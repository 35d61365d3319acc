"""`eventlet.pools`: a bounded number of things, none lost and nobody left waiting."""

import eventlet
import pytest
from eventlet.pools import Pool, Token, TokenPool


class Numbers(Pool):
    made = 0

    def create(self):
        self.made += 1
        return self.made


def turns(count=3):
    for _ in range(count):
        eventlet.sleep(0)


def test_items_are_made_when_needed_and_used_again():
    pool = Numbers(max_size=2)
    assert (pool.current_size, pool.free(), pool.made) == (0, 2, 0)
    first, second = pool.get(), pool.get()
    assert (first, second, pool.free(), pool.current_size) == (1, 2, 0, 2)
    pool.put(second)
    pool.put(first)
    assert (list(pool.free_items), pool.free()) == ([2, 1], 2)
    assert (pool.get(), pool.get(), pool.made) == (2, 1, 2)


def test_order_as_stack_takes_the_last_one_first():
    pool = Numbers(max_size=2, order_as_stack=True)
    first, second = pool.get(), pool.get()
    pool.put(first)
    pool.put(second)
    assert [pool.get(), pool.get()] == [2, 1]


def test_min_size_are_made_at_once():
    pool = Numbers(min_size=2, max_size=3)
    assert (pool.made, pool.current_size, pool.free()) == (2, 2, 3)
    assert [pool.get() for _ in range(3)] == [1, 2, 3]


def test_create_as_argument():
    made = []
    pool = Pool(create=lambda: made.append(1) or len(made))
    assert (pool.min_size, pool.max_size, pool.order_as_stack) == (0, 4, False)
    assert [pool.get() for _ in range(4)] == [1, 2, 3, 4]


def test_create_must_be_there():
    pool = Pool()
    with pytest.raises(NotImplementedError, match="Implement in subclass"):
        pool.get()
    assert (pool.free(), pool.current_size) == (4, 0)


def test_item_gives_back_what_it_took():
    pool = Numbers(max_size=1)
    with pytest.raises(KeyError), pool.item() as item:
        assert (item, pool.free()) == (1, 0)
        raise KeyError
    assert pool.free() == 1


def test_waiting_green_threads_are_served_in_their_order():
    pool, log = Numbers(max_size=1), []
    item = pool.get()

    def work(name):
        with pool.item():
            log.append(name)
            eventlet.sleep(0)

    threads = [eventlet.spawn(work, name) for name in "abc"]
    turns()
    assert (pool.waiting(), log) == (3, [])
    pool.put(item)
    pool_late = eventlet.spawn(work, "late")
    for thread in [*threads, pool_late]:
        thread.wait()
    assert log == ["a", "b", "c", "late"]
    assert (pool.made, pool.waiting(), pool.free()) == (1, 0, 1)


def test_who_comes_later_does_not_overtake_who_was_woken():
    pool, log = Numbers(max_size=1), []
    item = pool.get()
    first = eventlet.spawn(lambda: log.append("first") or pool.get())
    turns()
    pool.put(item)  # `first` is woken, but does not run yet
    second = eventlet.spawn(pool.get)
    with eventlet.Timeout(0.001, False):
        pool.get()
        pytest.fail("overtook")
    assert first.wait() == 1
    second.kill()


def test_an_item_is_not_lost_with_a_killed_getter():
    pool = Numbers(max_size=1)
    item = pool.get()
    killed, next_one = eventlet.spawn(pool.get), eventlet.spawn(pool.get)
    turns()
    pool.put(item)
    assert pool.free() == 1
    killed.kill()
    assert next_one.wait() == item
    pool.put(item)
    lonely = eventlet.spawn(pool.get)
    turns()
    assert lonely.wait() == item
    waiter = eventlet.spawn(pool.get)
    turns()
    pool.put(item)
    waiter.kill()
    assert (pool.get(), pool.free(), pool.waiting()) == (item, 0, 0)


def test_a_timeout_in_the_turn_of_the_hand_over_loses_nothing():
    pool = Numbers(max_size=1)
    item = pool.get()
    getter = eventlet.spawn(pool.get)
    turns()
    hub = eventlet.hubs.get_hub()
    hub.schedule_call_global(0, getter.throw, eventlet.Timeout(None))
    pool.put(item)
    turns()
    assert getter.dead
    assert (pool.free(), pool.get()) == (1, item)


def test_create_that_fails_gives_its_chance_to_the_next():
    begun, go_on = eventlet.Event(), eventlet.Event()

    def create():
        if not begun.ready():
            begun.send()
            go_on.wait()
            raise OSError("refused")
        return "item"

    pool = Pool(max_size=1, create=create)
    first, second = eventlet.spawn(pool.get), eventlet.spawn(pool.get)
    begun.wait()
    turns()
    assert (pool.waiting(), pool.free()) == (1, 0)
    go_on.send()
    with pytest.raises(OSError, match="refused"):
        first.wait()
    assert second.wait() == "item"


def test_killed_while_it_creates():
    pool = Pool(max_size=1, create=eventlet.Event().wait)
    getter = eventlet.spawn(pool.get)
    turns()
    assert pool.free() == 0
    getter.kill()
    assert (pool.free(), pool.current_size) == (1, 0)


def test_never_more_than_max_size_exist():
    pool, out, most = Numbers(max_size=3), 0, 0

    def work():
        nonlocal out, most
        with pool.item():
            out += 1
            most = max(most, out)
            eventlet.sleep(0)
            out -= 1

    threads = [eventlet.spawn(work) for _ in range(50)]
    for thread in threads:
        thread.wait()
    assert (most, pool.made, pool.current_size, pool.free()) == (3, 3, 3, 3)


def test_a_smaller_pool_forgets_what_comes_back():
    pool = Numbers(max_size=3)
    items = [pool.get() for _ in range(3)]
    pool.resize(1)
    assert (pool.free(), pool.max_size) == (-2, 1)
    for item in items:
        pool.put(item)
    assert (list(pool.free_items), pool.current_size, pool.free()) == ([3], 1, 1)


def test_a_larger_pool_serves_who_waits():
    pool = Numbers(max_size=1)
    item = pool.get()
    threads = [eventlet.spawn(pool.get) for _ in range(3)]
    turns()
    pool.resize(3)
    turns()
    assert (pool.waiting(), [thread.dead for thread in threads]) == (1, [True, True, False])
    pool.put(item)
    assert [thread.wait() for thread in threads] == [2, 3, item]


def test_what_others_put_into_the_channel_is_an_item():
    pool = Numbers(max_size=1)
    pool.get()
    getter = eventlet.spawn(pool.get)
    turns()
    pool.channel.put("by hand")
    assert getter.wait() == "by hand"


def test_token_pool():
    pool = TokenPool(max_size=2)
    one, two = pool.get(), pool.get()
    assert type(one) is type(two) is Token and one is not two
    assert pool.free() == 0


def test_between_os_threads():
    import threading

    pool, got = Numbers(max_size=1), []
    item = pool.get()
    here = threading.Event()

    def other():
        here.set()
        with pool.item() as own:
            got.append(own)

    thread = threading.Thread(target=other)
    thread.start()
    here.wait(10)
    while not pool.waiting():
        eventlet.sleep(0.001)
    pool.put(item)
    thread.join(10)
    assert (got, pool.free()) == ([item], 1)
