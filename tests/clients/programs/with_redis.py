"""redis-py: commands, pipelines, blocking lists, publish and subscribe, a shared pool."""

import sys

import redis
from crowd import gather

server = redis.Redis(port=int(sys.argv[1]), max_connections=400)


def work(number):
    key = f"key{number}"
    server.set(key, number)
    with server.pipeline() as pipe:
        for _ in range(10):
            pipe.incr(key)
        assert pipe.execute() == list(range(number + 1, number + 11))
    assert server.blpop([f"nothing{number}"], timeout=0.2) is None
    subscriber = server.pubsub(ignore_subscribe_messages=True)
    subscriber.subscribe(key)
    while subscriber.get_message(timeout=1) is not None or not subscriber.subscribed:
        pass
    assert server.publish(key, b"tea") == 1
    while (message := subscriber.get_message(timeout=1)) is None:
        pass
    subscriber.close()
    return int(server.get(key)), message["data"]


assert gather(work, 0.2) == [(number + 10, b"tea") for number in range(100)]
