"""`eventlet.green.zmq`: sockets of pyzmq that block only the green thread that calls."""

import eventlet
import pytest

pytest.importorskip("zmq", reason="pyzmq is not installed")

from eventlet.green import zmq
from eventlet.patcher import original


@pytest.fixture
def pair():
    """Makes two connected sockets: `pair()`, or of other kinds than PAIR."""
    context = zmq.Context()
    opened = []

    def make(one=zmq.PAIR, other=zmq.PAIR):
        left, right = context.socket(one), context.socket(other)
        opened.extend((left, right))
        port = left.bind_to_random_port("tcp://127.0.0.1")
        right.connect(f"tcp://127.0.0.1:{port}")
        return left, right

    yield make
    for each in opened:
        each.close(0)
    context.term()


def test_receivers_wait_in_turn_while_another_sends(pair):
    left, right = pair()
    threads = [eventlet.spawn(right.recv) for _ in range(3)]
    eventlet.sleep(0)
    for number in b"123":
        left.send(bytes([number]))
    assert [thread.wait() for thread in threads] == [b"1", b"2", b"3"]


def test_the_parts_of_messages_are_not_mixed(pair):
    left, right = pair(zmq.PUSH, zmq.PULL)
    senders = [eventlet.spawn(left.send_multipart, [b"%d" % n] * 3) for n in range(10)]
    found = [right.recv_multipart() for _ in range(10)]
    assert sorted(found) == [[b"%d" % n] * 3 for n in range(10)]
    for sender in senders:
        sender.wait()


def test_timeouts_and_noblock(pair):
    left, _ = pair()
    left.setsockopt(zmq.RCVTIMEO, 10)
    with pytest.raises(zmq.ZMQError) as caught:
        left.recv()
    assert caught.value.errno == zmq.EAGAIN
    assert eventlet.is_timeout(caught.value)
    with pytest.raises(zmq.ZMQError) as caught:
        left.recv(zmq.NOBLOCK)
    assert caught.value.errno == zmq.EAGAIN
    with pytest.raises(eventlet.Timeout), eventlet.Timeout(0.01):
        left.setsockopt(zmq.RCVTIMEO, -1)
        left.recv()
    # The one that gave up has left nothing behind: the next one gets the message.
    left, right = pair()
    waiting = eventlet.spawn(right.recv)
    eventlet.sleep(0)
    waiting.kill()
    left.send(b"tea")
    assert right.recv() == b"tea"


def test_pollers_are_green(pair):
    left, right = pair()
    poller = zmq.Poller()
    poller.register(right, zmq.POLLIN)
    assert poller.poll(0) == []
    assert poller.poll(5) == []
    waiting = eventlet.spawn(poller.poll, 5000)
    eventlet.sleep(0)
    left.send(b"tea")
    assert waiting.wait() == [(right, zmq.POLLIN)]
    assert zmq.select([right], [left], [], 1) == ([right], [left], [])
    assert right.poll(1000) == zmq.POLLIN
    assert right.recv() == b"tea"


def test_polling_takes_nobody_the_news(pair):
    left, right = pair()
    receiver = eventlet.spawn(right.recv)
    eventlet.sleep(0)
    left.send(b"message")
    # Until it is there, without the hub, which would tell the receiver.
    assert original("select").select([right.getsockopt(zmq.FD)], [], [], 30)[0]
    poller = zmq.Poller()
    poller.register(right, zmq.POLLIN)
    assert poller.poll(0) == [(right, zmq.POLLIN)]
    with eventlet.Timeout(30):
        assert receiver.wait() == b"message"


def test_closing_wakes_who_waits(pair):
    _, right = pair()
    waiting = [eventlet.spawn(right.recv) for _ in range(2)]
    eventlet.sleep(0)
    right.close()
    for thread in waiting:
        with pytest.raises(zmq.ZMQError) as caught:
            thread.wait()
        assert caught.value.errno in (zmq.ENOTSUP, zmq.ENOTSOCK)


def test_strings_objects_and_buffers(pair):
    left, right = pair()
    left.send_string("tea")
    assert right.recv_string() == "tea"
    left.send_json({"cup": 1})
    assert right.recv_json() == {"cup": 1}
    left.send_pyobj([1])
    assert right.recv_pyobj() == [1]
    if hasattr(zmq.Socket.__mro__[1], "recv_into"):
        buffer = bytearray(3)
        left.send(b"abc")
        assert right.recv_into(buffer) == 3
        assert buffer == b"abc"


def test_a_context_that_has_ended():
    ended = zmq.Context()
    ended.term()
    with pytest.raises(zmq.ZMQError) as caught:
        ended.socket(zmq.PAIR)
    assert caught.value.errno == zmq.ENOTSUP


def test_queue_lock():
    lock = zmq._QueueLock()
    with pytest.raises(zmq.LockReleaseError):
        lock.release()
    with lock:
        with lock:
            assert lock
        assert lock
    assert not lock
