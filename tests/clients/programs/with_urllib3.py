"""urllib3: one pool of connections, with fewer of them than green threads."""

import sys

import urllib3
from crowd import gather

pool = urllib3.HTTPConnectionPool("127.0.0.1", int(sys.argv[1]), maxsize=30, block=True)


def work(number):
    answer = pool.request("GET", f"/{number * 100}", timeout=20)
    return answer.status, len(answer.data)


assert gather(work, 0.2) == [(200, number * 100) for number in range(100)]
