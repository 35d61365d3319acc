"""The forms of repr()."""

import re
import threading

import pytest
from greenlet import getcurrent, greenlet

ADDRESS = "0x[0-9a-f()nil]+"


def form(g, rest, name="greenlet.greenlet"):
    assert re.fullmatch(f"<{name} object at {ADDRESS} \\(otid={ADDRESS}\\){rest}>", repr(g)), repr(
        g
    )


def test_new():
    form(greenlet(), " pending")


def test_main_current():
    form(getcurrent(), " current active started main")


def test_main_suspended():
    main = getcurrent()
    greenlet(lambda: form(main, " suspended active started main")).switch()


def test_running():
    greenlet(lambda: form(getcurrent(), " current active started")).switch()


def test_suspended_then_dead():
    g = greenlet(lambda: getcurrent().parent.switch())
    g.switch()
    form(g, " suspended active started")
    g.switch()
    form(g, " dead")


def test_killed_before_it_started():
    g = greenlet(len)
    g.throw()
    form(g, " dead")


def test_subclass():
    class Mine(greenlet):
        pass

    form(Mine(), " pending", name="Mine")


def test_address_is_the_identity():
    g = greenlet()
    assert f"object at {id(g):#x} " in repr(g)


def test_otid_tells_threads_apart():
    def otid(g):
        return re.search("otid=([^)]*)", repr(g)).group(1)

    g = greenlet(lambda: getcurrent().parent.switch())
    g.switch()
    assert otid(g) == otid(getcurrent())
    theirs = []
    thread = threading.Thread(target=lambda: theirs.append(otid(getcurrent())))
    thread.start()
    thread.join(30)
    assert theirs != [otid(g)]
    g.switch()


@pytest.mark.leaks("the frames of a greenlet whose thread has ended cannot be unwound")
def test_thread_exited(settles):
    found = []

    def work():
        g = greenlet(lambda: getcurrent().parent.switch())
        g.switch()
        found.extend((getcurrent(), g))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert settles(lambda: found[0].dead)
    for g in found:
        form(g, r" \(thread exited\) dead")
