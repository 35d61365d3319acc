"""The short form of tests/soak: everything at once while it is being broken, for two seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "soak" / "run.py"


@pytest.mark.slow
def test_soak():
    command = [sys.executable, "-X", "faulthandler", str(PROGRAM), "--seconds", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stdout + done.stderr  # the seed is in the first line
    assert "0 wrong" in done.stdout and done.stderr == ""


@pytest.mark.slow
def test_soak_finds_what_is_lost(tmp_path):
    # A queue that loses one item in a hundred.
    for part in ("run.py", "chaos.py", "scenes.py"):
        text = (PROGRAM.parent / part).read_text()
        text = text.replace('book["queue"].put(item)', 'item % 100 and book["queue"].put(item)')
        (tmp_path / part).write_text(text)
    command = [sys.executable, str(tmp_path / "run.py"), "--rounds", "1", "--scenes", "queues"]
    done = subprocess.run([*command, "--seed", "7"], capture_output=True, text=True, timeout=55)
    assert done.returncode == 1
    assert "WRONG in the round of seed 7: Queues: " in done.stdout and "lost {" in done.stdout
