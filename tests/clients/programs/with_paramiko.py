"""paramiko: ten connections, whose threads are green ones; files over SFTP, and commands."""

import io
import sys

import paramiko
from crowd import gather

port, key, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def connect():
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(
        "127.0.0.1", port, "root", key_filename=key, allow_agent=False, look_for_keys=False
    )
    return client


clients = [connect() for _ in range(10)]


def work(number):
    data = b"%d" % number * 10_000
    path = f"{folder}/file{number}"
    with clients[number % 10].open_sftp() as files:
        files.putfo(io.BytesIO(data), path)
        back = io.BytesIO()
        files.getfo(path, back)
        return back.getvalue() == data, files.stat(path).st_size


assert gather(work, 1) == [(True, len(str(number)) * 10_000) for number in range(100)]
_, output, _ = clients[0].exec_command("echo tea; exit 3")
assert (output.read(), output.channel.recv_exit_status()) == (b"tea\n", 3)
for client in clients:
    client.close()
