"""The real servers that clients are tested with: each on a free port, in a folder of its own.

Each is a context manager that gives what its programs take as arguments, or raises `Missing` if the
server is not installed here (`tests/clients/run` installs them where it may).
"""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = Path(__file__).resolve().parent / "programs"
PATIENCE = 60  # seconds until a server answers


class Missing(Exception):
    """The server cannot be run here; the text says why."""


def find(name, *folders):
    """Path of a program of the system's."""
    path = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin", *map(str, folders)))
    found = shutil.which(name, path=path)
    if found is None:
        raise Missing(f"{name} is not installed")
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(folder, command, port, **options):
    """The process of a server, from when it answers on its port to its end."""
    log = folder / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            **options,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Missing(
                    f"{command[0]} does not run: {log.read_text(errors='replace')[-500:]}"
                )
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def account(name):
    """Options that run a process as the account of a server, which refuses to be root."""
    if os.getuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise Missing(f"there is no account {name}") from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def http(folder):
    command = [sys.executable, PROGRAMS / "http_server.py"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield [int(process.stdout.readline())]
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def redis(folder):
    port = free_port()
    command = [find("redis-server"), "--port", port, "--save", "", "--bind", "127.0.0.1"]
    with running(folder, command, port):
        yield [port]


@contextlib.contextmanager
def memcached(folder):
    port = free_port()
    command = [find("memcached"), "-l", "127.0.0.1", "-p", port, "-U", "0", "-u", "nobody"]
    with running(folder, command, port):
        yield [port]


@contextlib.contextmanager
def mariadb(folder):
    server, install = find("mariadbd"), find("mariadb-install-db")
    owner = account("mysql")
    if owner:
        os.chown(folder, owner["user"], owner["group"])
        for parent in (folder, folder.parent, folder.parent.parent):
            parent.chmod(0o755)
    data = folder / "data"
    common = [f"--datadir={data}", "--no-defaults"]
    subprocess.run(
        [
            install,
            "--no-defaults",
            f"--datadir={data}",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        ],
        check=True,
        capture_output=True,
        **owner,
    )
    setup = folder / "setup.sql"
    setup.write_text(
        "CREATE DATABASE test;\nCREATE USER tea@'%' IDENTIFIED BY 'cup';\n"
        "GRANT ALL ON test.* TO tea@'%';\n"
    )
    port = free_port()
    command = [
        *(server, common[1], common[0], f"--port={port}", "--bind-address=127.0.0.1"),
        *(
            f"--socket={folder}/socket",
            f"--init-file={setup}",
            "--max-connections=300",
            "--back-log=300",
        ),
    ]
    with running(folder, command, port, **owner):
        yield [port]


@contextlib.contextmanager
def postgres(folder):
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    server, install = find("postgres", *homes), find("initdb", *homes)
    owner = account("postgres")
    if owner:
        os.chown(folder, owner["user"], owner["group"])
        for parent in (folder, folder.parent, folder.parent.parent):
            parent.chmod(0o755)
    data = folder / "data"
    subprocess.run(
        [install, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"],
        check=True,
        capture_output=True,
        cwd=folder,
        **owner,
    )
    port = free_port()
    command = [
        *(server, "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1"),
        *(
            "-c",
            "max_connections=200",
            "-c",
            "fsync=off",
            "-c",
            f"unix_socket_directories={folder}",
        ),
    ]
    with running(folder, command, port, **owner):
        yield [port]


@contextlib.contextmanager
def sshd(folder):
    server, keygen = find("sshd"), find("ssh-keygen")
    if os.getuid() != 0:
        raise Missing("sshd lets others in only if it is root")
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    for name in ("host", "client"):
        subprocess.run(
            [keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / name],
            check=True,
            capture_output=True,
        )
    port = free_port()
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/client.pub\nPermitRootLogin yes\nMaxSessions 100\nMaxStartups 200\n"
        "PidFile none\nSubsystem sftp internal-sftp\n"
    )
    with running(folder, [server, "-D", "-e", "-f", folder / "config"], port):
        yield [port, folder / "client", folder]


@contextlib.contextmanager
def dnsmasq(folder):
    server = find("dnsmasq")
    port = free_port()
    records = [f"--address=/host{number}.test/192.0.2.{number}" for number in range(100)]
    command = [
        *(server, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"),
        *("--listen-address=127.0.0.1", "--bind-interfaces", f"--port={port}", "--user=root"),
        *("--local=/test/", *records),
    ]
    with running(folder, command, port):
        yield [port]
