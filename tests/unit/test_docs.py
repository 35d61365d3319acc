"""Every guide in docs/ that shows a session at the prompt shows what happens."""

import re
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


NATIVE = """
import doctest, types
from greenlet import _core

def documented():
    for name, value in vars(_core).items():
        yield name, value.__doc__
        if isinstance(value, type):
            for member, attribute in vars(value).items():
                if member != "__doc__":
                    yield f"{name}.{member}", getattr(attribute, "__doc__", None)

parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
for name, text in documented():
    if isinstance(text, str) and ">>>" in text:
        runner.run(parser.get_doctest(text, {}, name, None, 0))
print(runner.summarize(verbose=False))
"""


def test_examples_of_the_native_module():
    done = subprocess.run(
        [sys.executable, "-c", NATIVE], capture_output=True, text=True, timeout=60
    )
    assert "failed=0" in done.stdout, done.stdout + done.stderr
    assert int(re.search(r"attempted=(\d+)", done.stdout)[1]) > 50
