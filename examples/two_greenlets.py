"""Two greenlets that hand over to each other.

Prints 12, 56 and 34. `test2` waits for ever in its switch to `gr1`, so 78 never appears: when
`test1` ends, its parent, the main program, goes on.
"""

from greenlet import greenlet


def test1():
    print(12)
    gr2.switch()
    print(34)


def test2():
    print(56)
    gr1.switch()
    print(78)


gr1 = greenlet(test1)
gr2 = greenlet(test2)
gr1.switch()
