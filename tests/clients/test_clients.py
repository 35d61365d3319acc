"""Popular clients in a patched process, against real servers: a hundred green threads each.

Each program of `programs/` runs in a process of its own, asserts that every result is exact and that
nobody has waited for the others, and prints one line.
"""

import importlib.util
import subprocess
import sys

import pytest
import servers

CLIENTS = {
    "redis": ("redis", servers.redis),
    "pymysql": ("pymysql", servers.mariadb),
    "psycopg2": ("psycopg2", servers.postgres),
    "psycopg": ("psycopg", servers.postgres),
    "pymemcache": ("pymemcache", servers.memcached),
    "paramiko": ("paramiko", servers.sshd),
    "dnspython": ("dns", servers.dnsmasq),
    "requests": ("requests", servers.http),
    "urllib3": ("urllib3", servers.http),
    "celery": ("celery", servers.redis),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_client(client, tmp_path):
    package, server = CLIENTS[client]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    try:
        with server(tmp_path) as arguments:
            done = subprocess.run(
                [sys.executable, str(servers.PROGRAMS / f"with_{client}.py"), *map(str, arguments)],
                capture_output=True,
                text=True,
                timeout=100,
            )
    except servers.Missing as reason:
        pytest.skip(str(reason))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("ok 100 in"), done.stdout
    print(client, done.stdout, end="")


def test_packages():
    """Fifty popular packages, imported and used in one patched process."""
    if importlib.util.find_spec("django") is None:
        pytest.skip("the packages of requirements.txt are not installed")
    done = subprocess.run(
        [sys.executable, str(servers.PROGRAMS / "with_packages.py")],
        capture_output=True,
        text=True,
        timeout=100,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].startswith("pass: "), done.stdout
