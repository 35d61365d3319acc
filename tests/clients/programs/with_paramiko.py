"""paramiko: ten connections, whose threads are green ones, and a hundred commands over them."""

import sys

import paramiko
from crowd import gather

port, key = int(sys.argv[1]), sys.argv[2]


def connect():
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(
        "127.0.0.1", port, "root", key_filename=key, allow_agent=False, look_for_keys=False
    )
    return client


clients = [connect() for _ in range(10)]


def work(number):
    _, output, _ = clients[number % 10].exec_command(f"sleep 1; echo {number}")
    return int(output.read()), output.channel.recv_exit_status()


assert gather(work, 1) == [(number, 0) for number in range(100)]
for client in clients:
    client.close()
