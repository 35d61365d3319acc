"""dnspython's own resolver, over datagrams and streams, against a name server."""

import sys
import time

import dns.resolver
from crowd import gather

resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers = ["127.0.0.1"]
resolver.port = int(sys.argv[1])


def work(number):
    time.sleep(0.1)
    answer = resolver.resolve(f"host{number}.test", "A", tcp=number % 2 == 0)
    try:
        resolver.resolve(f"nobody{number}.test", "A")
    except dns.resolver.NXDOMAIN:
        return answer[0].address
    return "found what is not there"


assert gather(work, 0.1) == [f"192.0.2.{number}" for number in range(100)]
