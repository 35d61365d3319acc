"""Patching does not depend on the order of imports: the program import_order.py proves it by running,
with a random order for each seed. tests/clients does it with packages."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(120)  # a busy machine may take its time over 200 imports

PROGRAM = Path(__file__).with_name("import_order.py")


def prove(seed, *options):
    """Runs the program; returns the numbers of captures, locks and modules."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAM), str(seed), *options],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, f"seed {seed}:\n{done.stderr[-6000:]}"
    words = done.stdout.split()
    assert words[0] == "proved" and words[-3:] == ["with", "seed", str(seed)], done.stdout
    return int(words[1]), int(words[3]), int(words[5])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_imports(seed):
    captures, locks, modules = prove(seed)
    assert captures >= 14 and locks >= 10 and modules >= 150


def test_captured_among_few_imports():
    captures, locks, modules = prove(7, "--count", "10")
    assert captures >= 14
