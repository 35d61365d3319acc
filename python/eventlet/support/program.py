"""Running a program in a patched process: `eventlet-run`, and ``python -m eventlet.patcher``.

The process is patched before anything of the program is imported. The program is the module
``__main__``, has the ``sys.argv`` and ``sys.path`` that it would have, and ends as it ends.
"""

import io
import os
import runpy
import sys
import types

_USAGE = "usage: {name} [-h] (script.py | -m module | -c code) [argument ...]"


def run(name, argv):
    """Patch everything, then run what *argv* names as the main module; return the exit status.

    *argv*: a script's path, or ``-m`` and a module's name, or ``-c`` and code, then the program's own
    arguments. *name* is that of this command, for its usage. Raises what the program raises.
    """
    if argv[:1] in (["-h"], ["--help"]):
        print(_USAGE.format(name=name))
        return 0
    option = argv[0] if argv[:1] in (["-m"], ["-c"]) else None
    if not argv or (option and len(argv) < 2) or (not option and argv[0].startswith("-")):
        print(_USAGE.format(name=name), file=sys.stderr)
        return 2
    from eventlet import patcher

    patcher.monkey_patch()
    if option == "-m":
        sys.argv[:] = argv[1:]
        _set_first_folder(os.getcwd())
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    elif option == "-c":
        sys.argv[:] = ["-c", *argv[2:]]
        _set_first_folder("")
        _execute(argv[1], "<string>")
    else:
        sys.argv[:] = argv
        if os.path.isdir(argv[0]) or argv[0].endswith((".zip", ".pyz", ".pyc")):
            runpy.run_path(argv[0], run_name="__main__")
        else:
            _set_first_folder(os.path.dirname(os.path.abspath(argv[0])))
            with io.open_code(os.path.abspath(argv[0])) as file:
                source = file.read()
            _execute(source, argv[0], __file__=argv[0])
    return 0


def _set_first_folder(folder):
    """Have ``sys.path`` begin with *folder*, as the interpreter would (not if it was told to be safe)."""
    if not getattr(sys.flags, "safe_path", False) and not sys.flags.isolated:
        sys.path[0] = folder


def _execute(source, filename, **names):
    """Run code as the main module, which stays it after the end: threads may still use it."""
    main = types.ModuleType("__main__")
    vars(main).update(names, __builtins__=__builtins__)
    sys.modules["__main__"] = main
    exec(compile(source, filename, "exec"), vars(main))


def main():
    """Be the command `eventlet-run`."""
    return run("eventlet-run", sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
