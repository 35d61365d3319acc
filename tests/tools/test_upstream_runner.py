"""The runner of upstream's suites must report what fails, crashes and hangs, and go on after it."""

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "upstream"

TESTS = """
import os, signal, time, unittest

class T(unittest.TestCase):
    def test_a_passes(self):
        pass

    def test_b_fails(self):
        self.assertEqual(1, 2)

    def test_c_crashes(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def test_d_errs(self):
        raise KeyError("why")

    def test_e_exits(self):
        os._exit(0)

    @unittest.skip("no reason")
    def test_f_is_skipped(self):
        pass

    def test_g_hangs(self):
        time.sleep(600)

    def test_h_leaks_less_than_upstream(self):
        class LeakCheckError(AssertionError):
            pass
        raise LeakCheckError("Expected x to leak but it did not.")

    def test_i_passes_after_all_that(self):
        pass
"""


class Suite:
    """One file of tests, run as greenlet's are."""

    workplace = None

    def __init__(self, folder):
        self.folder = folder

    def command(self, file, events, ids):
        module = file.removesuffix(".py")
        return [sys.executable, FOLDER / "record.py", events, module, *ids]

    def environment(self):
        return {"PYTHONPATH": str(self.folder)}


class PytestSuite(Suite):
    """The same, run as eventlet's are."""

    def __init__(self, folder):
        super().__init__(folder)
        self.workplace = folder

    def command(self, file, events, ids):
        return [sys.executable, FOLDER / "record_pytest.py", events, file, *ids]


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import exclusions
    import execution

    return execution, exclusions


@pytest.mark.parametrize("kind", [Suite, PytestSuite])
def test_outcomes(tmp_path, modules, kind):
    execution, _ = modules
    (tmp_path / "made_up.py").write_text(TESTS)
    run = execution.Execution(kind(tmp_path), "made_up.py", 8, tmp_path)
    names = run.collect()
    run.run(names)
    outcomes = {name.removeprefix("T::test_"): o for name, o in run.outcomes.items()}
    assert outcomes == {
        "a_passes": "passed",
        "b_fails": "failed",
        "c_crashes": "crash",
        "d_errs": "error" if kind is Suite else "failed",
        "e_exits": "crash",
        "f_is_skipped": "skipped",
        "g_hangs": "timeout",
        "h_leaks_less_than_upstream": "passed" if kind is Suite else "failed",
        "i_passes_after_all_that": "passed",
    }
    assert run.messages["T::test_b_fails"] == "AssertionError: 1 != 2"
    assert run.messages["T::test_c_crashes"] == "killed by SIGKILL"


@pytest.mark.parametrize("kind", [Suite, PytestSuite])
def test_a_file_that_ends_its_process(tmp_path, modules, kind):
    execution, _ = modules
    (tmp_path / "made_up.py").write_text("import os\nos.abort()\n")
    run = execution.Execution(kind(tmp_path), "made_up.py", 30, tmp_path)
    assert run.collect() == []
    assert run.outcomes == {"<collection>": "crash"}


def test_a_file_that_cannot_be_imported(tmp_path, modules):
    execution, _ = modules
    (tmp_path / "made_up.py").write_text("import no_such_module\n")
    run = execution.Execution(PytestSuite(tmp_path), "made_up.py", 30, tmp_path)
    assert run.collect() == []
    assert run.outcomes == {"<collection>": "error"}
    assert "no_such_module" in run.messages["<collection>"]


def test_exclusions(tmp_path, modules):
    _, exclusions = modules
    path = tmp_path / "made-up-excluded.txt"
    path.write_text("# heading\n\na.py::T::*  # private\nb.py::T::test  # gone\n")
    found = exclusions.Exclusions(path)
    assert found.reason("a.py", "T::test_x") == "private"
    assert found.reason("c.py", "T::test_x") is None
    assert found.unused() == ["b.py::T::test"]
    path.write_text("a.py::T::test_x\n")
    with pytest.raises(ValueError, match="give a reason"):
        exclusions.Exclusions(path)
