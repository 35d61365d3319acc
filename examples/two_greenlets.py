"""Two functions that hand over to each other in the middle: prints 12, 56, 34.

78 is never printed: when `test1` ends, its parent (the main program) goes on, and nobody switches to `test2` again.

    python examples/two_greenlets.py
"""

from greenlet import greenlet


def test1():
    print(12)
    second.switch()
    print(34)


def test2():
    print(56)
    first.switch()
    print(78)


first = greenlet(test1)
second = greenlet(test2)
first.switch()
