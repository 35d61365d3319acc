"""Upstream's test-suites: where each comes from, and how one of its files is run.

Nothing of them is stored in this project: archives are fetched when the suite is run and unpacked
under .scratch/upstream. To add a suite, write a class with the methods of `Greenlet`, name it in
`SUITES`, and give it a list of excluded tests, <name>-excluded.txt.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SCRATCH = FOLDER.parents[1] / ".scratch" / "upstream"
TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"


class SetupError(Exception):
    """The suite cannot be run here; the text says why."""


def run(*command, cwd=None):
    """Runs a command; its output is shown only if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SetupError(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def pip(*arguments):
    """Runs the pip of this interpreter."""
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments)


def made_once(folder, make):
    """The folder, made by `make(new folder)` if a whole one is not there yet."""
    if not folder.exists():
        new = folder.with_name(f"{folder.name}.new{os.getpid()}")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        make(new)
        new.rename(folder)
    return folder


def installed(name, needs):
    """A folder with what a suite imports besides what it tests."""

    def install(folder):
        pip("install", "--quiet", "--target", folder, *needs)

    return made_once(SCRATCH / f"{name}-needs-{TAG}", install)


class Greenlet:
    """greenlet's suite, `greenlet.tests`, which its wheels contain with the C sources it needs."""

    name = "greenlet"
    version = "3.5.6"
    needs = ("objgraph==3.7.0", "psutil==7.2.2", "setuptools")
    workplace = None  # where its processes run; None: in a new folder each

    def prepare(self):
        """Fetches the tests and what they import, and builds their extensions on our greenlet.h."""
        self.wheel = made_once(SCRATCH / f"greenlet-{self.version}-{TAG}", self._fetch)
        self.site = installed("greenlet", self.needs)
        # Built anew each time: our header may have changed.
        self.tests = SCRATCH / f"greenlet-tests-{TAG}" / "tests"
        shutil.rmtree(self.tests.parent, ignore_errors=True)
        shutil.copytree(
            self.wheel / "greenlet" / "tests", self.tests, ignore=shutil.ignore_patterns("*.so")
        )
        self._build()

    def _fetch(self, folder):
        wheel = f"greenlet=={self.version}"
        pip("download", "--quiet", "--no-deps", "--only-binary", ":all:", "-d", folder, wheel)
        (archive,) = folder.glob("*.whl")
        with zipfile.ZipFile(archive) as content:
            content.extractall(folder)

    def _build(self):
        # The sources include "../greenlet.h" and a header of upstream's about compilers.
        header = run(sys.executable, "-c", "import greenlet; print(greenlet.__path__[0])").strip()
        shutil.copy(Path(header) / "greenlet.h", self.tests.parent)
        shutil.copy(self.wheel / "greenlet" / "greenlet_compiler_compat.hpp", self.tests.parent)
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        include = sysconfig.get_path("include")
        for compiler, source in (
            (os.environ.get("CC", "cc"), "_test_extension.c"),
            (os.environ.get("CXX", "c++"), "_test_extension_cpp.cpp"),
        ):
            target = source.rpartition(".")[0] + suffix
            flags = ("-O1", "-g", "-fPIC", "-shared", f"-I{include}")
            run(compiler, *flags, source, "-o", target, cwd=self.tests)

    def files(self):
        """Names of the test files."""
        return sorted(path.name for path in self.tests.glob("test_*.py"))

    def command(self, file, events, ids):
        """The command that runs the tests `ids` (all if empty) of a file, and writes `events`."""
        module = "greenlet.tests." + file.removesuffix(".py")
        return [sys.executable, "-X", "faulthandler", FOLDER / "record.py", events, module, *ids]

    def environment(self):
        """Environment variables for it, besides the present ones."""
        return {
            "PYTHONPATH": os.pathsep.join((str(FOLDER / "overlay"), str(self.site))),
            "UPSTREAM_GREENLET_TESTS": str(self.tests),
        }


class Eventlet:
    """eventlet's suite, the folder `tests` of its source archive, which pytest runs."""

    name = "eventlet"
    version = "0.41.3"
    # Tests of MySQL and PostgreSQL skip themselves: they want servers.
    needs = ("dnspython>=2.8,<3", "pyopenssl>=26,<27", "pyzmq>=27,<28", "aiohttp>=3.14,<4")

    def prepare(self):
        """Fetches the tests and what they import."""
        source = made_once(SCRATCH / f"eventlet-{self.version}", self._fetch)
        self.site = installed("eventlet", self.needs)
        # A copy: next to it there must be no package of upstream's to be imported by mistake.
        self.workplace = SCRATCH / f"eventlet-tests-{TAG}"
        shutil.rmtree(self.workplace, ignore_errors=True)
        (tests,) = source.glob("*/tests")
        shutil.copytree(tests, self.workplace / "tests")

    def _fetch(self, folder):
        source = f"eventlet=={self.version}"
        pip("download", "--quiet", "--no-deps", "--no-binary", "eventlet", "-d", folder, source)
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as content:
            content.extractall(folder)

    def files(self):
        """Names of the test files."""
        return sorted(path.name for path in (self.workplace / "tests").glob("*_test.py")) + sorted(
            path.name for path in (self.workplace / "tests").glob("test_*.py")
        )

    def command(self, file, events, ids):
        """The command that runs the tests `ids` (all if empty) of a file, and writes `events`."""
        program = FOLDER / "record_pytest.py"
        return [sys.executable, "-X", "faulthandler", program, events, f"tests/{file}", *ids]

    def environment(self):
        """Environment variables for it, besides the present ones."""
        return {
            "PYTHONPATH": os.pathsep.join((str(self.workplace), str(self.site))),
            "eventlet_test_ipv6": "1",
        }


SUITES = {suite.name: suite for suite in (Greenlet, Eventlet)}
