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


def changed(folder, part, old, new):
    """A copy of the soak with a fault in it; gives its program."""
    for each in PROGRAM.parent.glob("*.py"):
        text = each.read_text()
        if each.name == part:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (folder / each.name).write_text(text)
    return str(folder / PROGRAM.name)


@pytest.mark.slow
def test_soak_finds_what_is_lost(tmp_path):
    # A queue that loses one item in a hundred.
    put = 'book["queue"].put(item)'
    program = changed(tmp_path, "scenes.py", put, "item % 100 and " + put)
    command = [sys.executable, program, "--rounds", "1", "--scenes", "queues"]
    done = subprocess.run([*command, "--seed", "7"], capture_output=True, text=True, timeout=55)
    assert done.returncode == 1
    assert "WRONG in the round of seed 7: Queues: " in done.stdout and "lost {" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("leak", "complaint"),
    [
        ("", None),
        ("memory.kept = [object(), getattr(memory, 'kept', None)]", "objects grew"),
        ("memory._libc.malloc(2000)", "heap grew"),
    ],
)
def test_soak_finds_one_object_that_leaks_in_each_round(tmp_path, leak, complaint):
    line = "    totals.update(stage.counts)\n"
    program = changed(tmp_path, "run.py", line, line + f"    {leak}\n")
    command = [sys.executable, program, "--rounds", "160", "--round", "0.01", "--seconds", "50"]
    command += ["--scenes", "locks,timeouts"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=58)
    wrong = [line for line in done.stdout.splitlines() if "WRONG" in line]
    if complaint is None:
        assert wrong == [] and done.returncode == 0
    else:
        assert len(wrong) == 1 and complaint in wrong[0] and done.returncode == 1
