"""Patching does not depend on the order of imports, also among packages: tests/unit/import_order.py
imports some 200 modules of the standard library and of requirements.txt in a random order, captures what
blocks, patches, and proves by running that nothing blocks the hub.

The seed is printed; EVENTLET_ORDER_SEED=N runs that one again.
"""

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[1] / "unit" / "import_order.py"

#: Packages by the names that they are imported by. Those that are in the process for themselves, such
#: as gunicorn (which patches) and tornado (which makes an event loop of its own), are left out.
PACKAGES = """
    aiohttp anyio apscheduler boto3 celery click cryptography django dns elasticsearch fastapi flask
    httpx jinja2 jwt kazoo.client kombu ldap3 loguru lxml msgpack opentelemetry.sdk orjson paramiko
    pika PIL prometheus_client psutil psycopg psycopg2 pydantic pymemcache.client pymongo pymysql yaml
    zmq redis requests rich sentry_sdk sqlalchemy structlog tenacity tqdm trio urllib3 uvicorn
    watchdog websocket websockets
""".split()

#: With these something is done that was prepared before the patch.
USED = {"requests", "urllib3", "sqlalchemy", "redis", "flask"}

SEEDS = [int(os.environ.get("EVENTLET_ORDER_SEED", random.SystemRandom().randrange(10**6))), 1, 2]


def is_installed(name):
    return importlib.util.find_spec(name.partition(".")[0]) is not None


@pytest.mark.parametrize("place", range(len(SEEDS)))
def test_packages_imported_and_used_before(place):
    seed = SEEDS[place]
    packages = [name for name in PACKAGES if is_installed(name)]
    if missing := USED.difference(packages):
        pytest.skip(f"not installed: {', '.join(sorted(missing))}")
    count = str(200 - len(packages))
    command = [sys.executable, "-W", "ignore", str(PROGRAM), str(seed), "--count", count]
    print("seed", seed)
    done = subprocess.run(
        [*command, "--packages", *packages], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, f"seed {seed}:\n{done.stderr[-6000:]}"
    print(done.stdout)
    proved, captures, _, locks, _, modules, _, *names, _, _, number = done.stdout.split()
    assert (proved, number) == ("proved", str(seed))
    assert int(captures) >= 14 + len(USED) and int(locks) >= 50 and int(modules) >= 160
    assert set(names) >= USED and len(names) >= len(packages) - 3  # one or the other may not import
