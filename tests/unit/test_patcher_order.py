"""Patching does not depend on the order of imports: the program import_order.py proves it by running,
with a random order for each seed."""

import os
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(120)  # a busy machine may take its time over 200 imports

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ["requests", "urllib3", "sqlalchemy", "redis", "flask"]


def prove(seed, *options, **environment):
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            os.path.join(HERE, "import_order.py"),
            str(seed),
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, f"seed {seed}:\n{done.stderr[-6000:]}"
    words = done.stdout.split()
    assert words[0] == "proved", done.stdout
    return int(words[1]), int(words[3]), int(words[5]), words[7:]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_imports(seed):
    captures, locks, modules, _ = prove(seed)
    assert captures >= 14 and locks >= 10 and modules >= 150


def test_captured_among_few_imports():
    captures, locks, modules, _ = prove(7, "--count", "10")
    assert captures >= 14


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_packages_imported_and_used_before(tmp_path):
    installer = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tmp_path)]
    try:
        done = subprocess.run([*installer, *PACKAGES], capture_output=True, text=True, timeout=240)
    except subprocess.TimeoutExpired:
        pytest.skip("the packages could not be installed in time")
    if done.returncode:
        pytest.skip(f"the packages could not be installed: {done.stderr[-300:]}")
    # SQLAlchemy asks for a greenlet, and --target does not see that the one under test is installed.
    shutil.rmtree(tmp_path / "greenlet", ignore_errors=True)
    for seed in (1, 2):
        *_, packages = prove(seed, "--packages", PYTHONPATH=str(tmp_path))
        assert packages == PACKAGES
