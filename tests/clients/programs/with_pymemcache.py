"""pymemcache: a pooled client that all green threads share."""

import sys
import time

from crowd import gather
from pymemcache.client.base import PooledClient

client = PooledClient(("127.0.0.1", int(sys.argv[1])), max_pool_size=100, default_noreply=False)


def work(number):
    key = f"key{number}"
    client.set(key, b"%d" % number * 1000)
    time.sleep(0.1)
    client.set("counter" + key, b"0")
    for _ in range(10):
        client.incr("counter" + key, number)
    found = client.get_many([key, "counter" + key, "nothing"])
    return found[key] == b"%d" % number * 1000, int(found["counter" + key])


assert gather(work, 0.1) == [(True, number * 10) for number in range(100)]
