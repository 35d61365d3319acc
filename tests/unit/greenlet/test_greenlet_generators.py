"""Greenlets inside generators and coroutines, and generators made of greenlets."""

import asyncio

import pytest
from greenlet import getcurrent, greenlet


class Yielding(greenlet):
    """A generator made of a greenlet: emit() in any depth of calls delivers one item."""

    def __init__(self, body):
        super().__init__(body)
        self.consumer = None

    def __iter__(self):
        return self

    def __next__(self):
        self.parent = getcurrent()
        value = self.switch()
        if self.dead:
            raise StopIteration
        return value


def emit(value):
    g = getcurrent()
    while not isinstance(g, Yielding):
        g = g.parent
    g.parent.switch(value)


def test_generator_of_nested_calls():
    def tree(depth):
        if depth:
            tree(depth - 1)
            emit(depth)
            tree(depth - 1)

    assert list(Yielding(lambda: tree(3))) == [1, 2, 1, 3, 1, 2, 1]


def test_two_at_once():
    def count():
        for n in range(3):
            emit(n)

    assert list(zip(Yielding(count), Yielding(count), strict=True)) == [(0, 0), (1, 1), (2, 2)]


def test_nested():
    def inner():
        emit("a")
        emit("b")

    def outer():
        for item in Yielding(inner):
            emit(item * 2)

    assert list(Yielding(outer)) == ["aa", "bb"]


def test_exception_ends_it():
    def fail():
        emit(1)
        raise ValueError("over")

    g = Yielding(fail)
    assert next(g) == 1
    with pytest.raises(ValueError, match="over"):
        next(g)


def test_permutations():
    """Recursive generators as greenlets, against the plain answer."""
    from itertools import permutations

    def permute(items, chosen=()):
        if not items:
            emit(chosen)
        for i, item in enumerate(items):
            permute(items[:i] + items[i + 1 :], (*chosen, item))

    items = ("a", "b", "c", "d")
    assert list(Yielding(lambda: permute(items))) == list(permutations(items))


def test_generator_resumed_by_several_greenlets():
    """A generator frame runs on the stack of whoever resumes it."""

    def numbers():
        yield from range(6)

    shared, got = numbers(), []

    def take(name):
        for n in shared:
            got.append((name, n))
            getcurrent().parent.switch()

    a, b = greenlet(take), greenlet(take)
    a.switch("a")
    b.switch("b")
    while not (a.dead and b.dead):
        a.switch()
        b.switch()
    assert got == [("a", 0), ("b", 1), ("a", 2), ("b", 3), ("a", 4), ("b", 5)]


def test_generator_that_is_running_cannot_be_resumed():
    def numbers():
        yield getcurrent().parent.switch("suspended")

    generator = numbers()
    g = greenlet(next)
    assert g.switch(generator) == "suspended"
    with pytest.raises(ValueError, match="generator already executing"):
        next(generator)
    assert g.switch("item") == "item"


def test_await_inside_greenlets():
    """SQLAlchemy's bridge: a greenlet hands awaitables to the coroutine that drives it."""

    def wait_for(awaitable):
        return getcurrent().parent.switch(awaitable)

    async def drive(function, *args):
        g = greenlet(function)
        value = g.switch(*args)
        while not g.dead:
            try:
                result = await value
            except BaseException as e:
                value = g.throw(e)
            else:
                value = g.switch(result)
        return value

    async def double(n):
        await asyncio.sleep(0)
        if n > 5:
            raise ValueError(n)
        return 2 * n

    def work(n):
        first = wait_for(double(n))
        try:
            return first, wait_for(double(first))
        except ValueError:
            return first, "too large"

    async def main():
        return await asyncio.gather(*(drive(work, n) for n in (1, 2, 3)))

    assert asyncio.run(main()) == [(2, 4), (4, 8), (6, "too large")]


def test_async_generator_driven_by_greenlets():
    async def numbers():
        for n in range(3):
            getcurrent().parent.switch(n)
            yield n

    def body():
        generator, got = numbers(), []
        while True:
            try:
                generator.__anext__().send(None)
            except StopIteration as item:
                got.append(item.value)
            except StopAsyncIteration:
                return got

    g = greenlet(body)
    assert [g.switch(), g.switch(), g.switch(), g.switch()] == [0, 1, 2, [0, 1, 2]]
