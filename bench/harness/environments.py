"""The virtual environments: this tree built in release mode, upstream, and its peers, from PyPI.

All live below target/, are kept between runs, and are brought up to date at each.

Invariant: ours is installed from a wheel of this tree as it is now, never from an older build,
unless the caller asks for the environments as they are.
"""

import subprocess
import sys

UPSTREAM = ("eventlet==0.41.3", "greenlet==3.5.6")
CLIENTS = ("requests==2.34.2", "redis==8.1.0")  # measured on top of either
PEERS = {"gevent": "gevent==26.9.0", "uvloop": "uvloop==0.23.0"}
MATURIN = "maturin>=1.9,<2"


def find_python(name):
    """The interpreter called ``name``: a path, a command, or a version such as 3.12."""
    for candidate in (name, f"python{name}"):
        try:
            answer = _output([candidate, "-c", "import sys; print(sys.executable)"])
        except (OSError, subprocess.CalledProcessError):
            continue
        return answer
    sys.exit(f"bench: no interpreter {name!r}")


def version(python):
    """(major, minor, patch) of an interpreter."""
    code = "import sys; print(*sys.version_info[:3])"
    return tuple(int(part) for part in _output([python, "-c", code]).split())


def _output(command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _pip(python, *arguments, **options):
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *arguments], check=True, **options)


def _venv(base, folder):
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([base, "-m", "venv", folder], check=True)
    return python


def upstream(base, scratch, renew):
    """The interpreter of an environment with upstream's packages; checked if ``renew``."""
    major, minor, _ = version(base)
    python = _venv(base, scratch / f"upstream-{major}.{minor}")
    if renew:
        _pip(python, *UPSTREAM, *CLIENTS)
    return python


def peers(base, scratch, renew):
    """The interpreter of an environment with the peers, and why any of them is absent, by name."""
    major, minor, _ = version(base)
    python = _venv(base, scratch / f"peers-{major}.{minor}")
    absent = {}
    for name, requirement in PEERS.items():
        try:
            if renew:
                _pip(python, "--only-binary", ":all:", requirement, capture_output=True)
            _output([python, "-c", f"import {name}"])
        except subprocess.CalledProcessError:
            absent[name] = f"{requirement} cannot be had for CPython {major}.{minor}"
    return python, absent


def ours(base, scratch, root, renew):
    """The interpreter of an environment with this tree; built and installed if ``renew``."""
    major, minor, _ = version(base)
    python = _venv(base, scratch / f"ours-{major}.{minor}")
    if not renew:
        return python
    wheels = scratch / f"wheels-{major}.{minor}"
    for old in wheels.glob("*.whl"):
        old.unlink()
    _pip(python, MATURIN, *CLIENTS)
    build = [python, "-m", "maturin", "build", "--release", "--quiet", "--out", wheels]
    done = subprocess.run(
        [*build, "--interpreter", python], capture_output=True, text=True, check=False, cwd=root
    )
    if done.returncode:
        sys.exit(f"bench: this tree does not build\n{done.stderr.strip()}")
    (wheel,) = wheels.glob("*.whl")
    _pip(python, "--force-reinstall", "--no-deps", wheel)
    return python
