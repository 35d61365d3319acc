"""Every guide in docs/ that shows a session at the prompt shows what happens."""

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = [path for path in sorted(DOCS.rglob("*.md")) if "\n    >>> " in path.read_text()]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_guide(guide):
    script = "import doctest, sys; print(doctest.testfile(sys.argv[1], module_relative=False))"
    command = [sys.executable, "-c", script, str(guide)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "failed=0" in done.stdout, done.stdout + done.stderr
