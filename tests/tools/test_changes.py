"""tools/changes.py must fail on a fragment that breaks the rules of changes/README.md."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "changes.py"


def changes(folder, *options):
    command = [sys.executable, TOOL, "--folder", folder, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert not done.stderr
    return done.returncode, done.stdout


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "README.md").write_text("# Rules\n")
    (tmp_path / "sockets.added.md").write_text("Sockets\nare green.\n")
    return tmp_path


def test_accepts_a_good_fragment(folder):
    assert changes(folder) == (0, "changes: in order\n")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sockets.md", "Sockets are green."),
        ("sockets.improved.md", "Sockets are green."),
        ("Sockets.added.md", "Sockets are green."),
        ("sockets.fixed.txt", "Sockets are green."),
        ("sockets.fixed.md", ""),
        ("sockets.fixed.md", "- sockets"),
        ("sockets.fixed.md", "Too long. " * 100),
    ],
)
def test_refuses(folder, name, text):
    (folder / name).write_text(text)
    status, output = changes(folder)
    assert status == 1
    assert name in output


def test_render_joins_the_fragments_by_kind(folder):
    (folder / "close.fixed.md").write_text("Closing works.\n")
    assert changes(folder, "--render") == (
        0,
        "### Added\n\n- Sockets are green.\n\n### Fixed\n\n- Closing works.\n\n",
    )
