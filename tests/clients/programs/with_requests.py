"""requests: a session that all green threads share, and one for each."""

import sys

import requests
from crowd import gather

shared = requests.Session()
shared.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=100))


def work(number):
    session = shared if number % 2 else requests
    answer = session.get(f"http://127.0.0.1:{sys.argv[1]}/{number * 100}", timeout=20)
    return answer.status_code, len(answer.content)


assert gather(work, 0.2) == [(200, number * 100) for number in range(100)]
