"""PyO3 extensions whose callbacks switch: what is safe, and what is not.

PyO3 counts attachments per OS thread. As long as every attachment and trampoline is left again, in
whatever order, the sums come out right. A switch between `detach` and the end of the `attach` inside
it does not: see docs/caveats/threads.md. All of this holds for upstream's greenlet as well.
"""

import os
import pathlib
import random
import shutil
import subprocess
import sys
import sysconfig

import pytest
from greenlet import GreenletExit, getcurrent, greenlet

CRATE = pathlib.Path(__file__).parents[2] / "pyo3_pitfalls"
TARGET = CRATE.parents[1] / "target" / "pyo3_pitfalls"

pytestmark = pytest.mark.timeout(600)  # the first of them compiles PyO3


@pytest.fixture(scope="session")
def extension_folder(tmp_path_factory):
    """The folder that holds the compiled module."""
    if not shutil.which("cargo"):
        pytest.skip("no cargo")
    folder = tmp_path_factory.mktemp("pyo3_pitfalls")
    subprocess.run(
        ["cargo", "build", "--quiet", "--locked", "--manifest-path", str(CRATE / "Cargo.toml")],
        env={**os.environ, "PYO3_PYTHON": sys.executable, "CARGO_TARGET_DIR": str(TARGET)},
        check=True,
        timeout=540,
    )
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    library = TARGET / "debug" / "libpyo3_pitfalls.so"
    shutil.copy(library, folder / ("pyo3_pitfalls" + suffix))
    return folder


@pytest.fixture
def rust(extension_folder, monkeypatch):
    monkeypatch.syspath_prepend(str(extension_folder))
    import pyo3_pitfalls

    return pyo3_pitfalls


def park():
    return getcurrent().parent.switch("parked")


def test_trampolines_left_in_any_order(rust):
    def body(n):
        return rust.call(lambda: (park(), n)[1])

    keep = [greenlet(body) for _ in range(30)]
    for n, g in enumerate(keep):
        assert g.switch(n) == "parked"
    order = list(enumerate(keep))
    random.Random(1).shuffle(order)
    for n, g in order:
        assert g.switch() == n
        rust.detach_briefly()


def test_nested_attachments_left_in_any_order(rust):
    depths = random.Random(2)

    def body(depth):
        for _ in range(5):
            rust.call_attached(park, depth)
            rust.detach_briefly()
        return "done"

    keep = [greenlet(body) for _ in range(30)]
    for g in keep:
        g.switch(depths.randrange(10))
    while keep:
        g = depths.choice(keep)
        value = g.switch()
        if g.dead:
            assert value == "done"
            keep.remove(g)


def test_attachments_inside_trampolines_inside_greenlets(rust):
    def nest(depth):
        if depth == 0:
            return park()
        return rust.call(lambda: rust.call_attached(lambda: greenlet(nest).switch(depth - 1), 3))

    main = getcurrent()
    deepest = greenlet(nest)
    assert deepest.switch(0) == "parked"
    assert deepest.switch("through") == "through"
    g = greenlet(nest)
    assert g.switch(5) == "parked"
    assert g.dead is False or getcurrent() is main


def test_killed_inside_trampolines(rust):
    log = []

    def body():
        try:
            rust.call_attached(lambda: rust.call(park), 4)
        except GreenletExit:
            log.append("killed")
            raise

    for _ in range(20):
        g = greenlet(body)
        g.switch()
        del g
        rust.detach_briefly()
    assert log == ["killed"] * 20


def test_exception_thrown_through_rust(rust):
    g = greenlet(lambda: rust.call_attached(park, 2))
    g.switch()
    with pytest.raises(KeyError, match="thrown"):
        g.throw(KeyError("thrown"))
    g = greenlet(lambda: rust.fail(park))
    g.switch()
    with pytest.raises(ValueError, match="from Rust"):
        g.switch()


def test_switch_inside_a_rust_sort(rust):
    def less(a, b):
        park()
        return a < b

    items = [5, 3, 8, 1, 9, 2, 7]
    keep = [greenlet(rust.sort) for _ in range(10)]
    values = [g.switch(items, less) for g in keep]
    while not all(g.dead for g in keep):
        values = [v if g.dead else g.switch() for g, v in zip(keep, values, strict=True)]
    assert values == [sorted(items)] * 10


def test_panic_in_a_greenlet(rust, capfd):
    """It is a PanicException for the parent, and the greenlet is dead."""
    g = greenlet(lambda: rust.panic("at the disco"))
    with pytest.raises(BaseException, match="at the disco") as info:
        g.switch()
    assert type(info.value).__name__ == "PanicException"
    assert g.dead
    assert "panicked" in capfd.readouterr().err
    assert greenlet(rust.detach_briefly).switch() == 499500


def test_panic_after_a_switch(rust, capfd):
    keep = [greenlet(lambda n=n: rust.panic(f"number {n}", park)) for n in range(5)]
    for g in keep:
        assert g.switch() == "parked"
    for n, g in reversed(list(enumerate(keep))):
        with pytest.raises(BaseException, match=f"number {n}") as info:
            g.switch()
        assert type(info.value).__name__ == "PanicException"
        assert g.dead


def test_panic_while_being_killed(rust, capfd):
    """An unraisable exception, as any other that a dying greenlet raises."""

    def body():
        try:
            park()
        finally:
            rust.panic("last words")

    hook, seen = sys.unraisablehook, []
    sys.unraisablehook = lambda u: seen.append(str(u.exc_value))
    try:
        g = greenlet(body)
        g.switch()
        del g
    finally:
        sys.unraisablehook = hook
    assert seen == ["last words"]


def test_borrow_held_across_a_switch(rust):
    """`&mut self` held by a suspended greenlet: others get RuntimeError, not a crash."""
    account = rust.Account()
    g = greenlet(lambda: account.add(lambda: (park(), 5)[1]))
    assert g.switch() == "parked"
    with pytest.raises(RuntimeError, match="[Aa]lready (mutably )?borrowed"):
        account.balance  # noqa: B018
    with pytest.raises(RuntimeError, match="[Aa]lready (mutably )?borrowed"):
        account.add(lambda: 1)
    assert g.switch() == 5
    assert account.balance == 5
    # shared borrows exclude only the exclusive one
    readers = [greenlet(lambda: account.read(park)) for _ in range(3)]
    for r in readers:
        r.switch()
    assert account.balance == 5
    with pytest.raises(RuntimeError, match="[Aa]lready borrowed"):
        account.add(lambda: 1)
    assert [r.switch() for r in readers] == [5, 5, 5]
    assert account.add(lambda: 1) == 6


def test_borrow_is_given_back_by_a_kill(rust):
    account = rust.Account()
    g = greenlet(lambda: account.add(park))
    g.switch()
    del g
    assert account.add(lambda: 2) == 2


def test_unsendable_class_in_another_greenlet(rust):
    """A greenlet never changes its OS thread, so what must stay in a thread does."""
    local = rust.Local(7)
    g = greenlet(lambda: (local.value, park(), local.value)[::2])
    g.switch()
    assert g.switch() == (7, 7)


def test_callback_under_detach_without_a_switch(rust):
    g = greenlet(lambda: rust.call_detached(lambda: 5))
    assert g.switch() == 5


SWITCH_UNDER_DETACH = """
    import sys
    sys.path.insert(0, sys.argv[1])
    import pyo3_pitfalls as rust
    from greenlet import getcurrent, greenlet

    def park():
        return getcurrent().parent.switch("parked")

    g = greenlet(lambda: rust.call_detached(park))
    print(g.switch(), flush=True)
    rust.call_attached(lambda: None, 1)
    g.switch()
    rust.call_attached(lambda: None, 1)
    print("survived", flush=True)
"""


def test_switch_under_detach(extension_folder, script):
    """Documented: PyO3 may abort, since it restores an absolute count. Nothing worse may happen.

    docs/caveats/threads.md tells extension authors not to call back under `detach`.
    """
    done = script(SWITCH_UNDER_DETACH, str(extension_folder))
    assert done.out.startswith("parked\n"), done
    if done.code:
        assert done.code == -6, done  # abort(), with PyO3's own message
        assert "panicked" in done.err or "fatal" in done.err.lower() or "prohibited" in done.err, (
            done
        )
    else:
        assert done.out == "parked\nsurvived\n", done
