"""`eventlet.green.profile`: every green thread has calls and times of its own."""

import pstats
import sys

import eventlet
import eventlet.patcher
import pytest
from eventlet.green import profile

now = 0.0


def clock():
    return now


def work(seconds):
    global now
    now += seconds


def napping(seconds):
    work(seconds)
    eventlet.sleep(0)
    work(seconds)


def both():
    threads = [eventlet.spawn(napping, 1.0), eventlet.spawn(napping, 10.0)]
    for thread in threads:
        thread.wait()


def figures(profiler, name):
    """Calls, own time and time with callees of a function."""
    found = [entry for (_, _, function), entry in profiler.timings.items() if function == name]
    assert len(found) == 1, profiler.timings.keys()
    calls, _, own, total, _ = found[0]
    return calls, own, total


def test_times_of_green_threads_are_not_mixed():
    profiler = profile.Profile(timer=clock, bias=0)
    profiler.runcall(both)
    profiler.create_stats()
    assert figures(profiler, "napping")[0] == 2
    # 2 x 1 s and 2 x 10 s, each once, although the two were interleaved.
    assert figures(profiler, "work") == (4, 22.0, 22.0)
    assert figures(profiler, "napping")[2] == pytest.approx(22.0)


def test_a_green_thread_that_was_under_way_before():
    thread = eventlet.spawn(napping, 3.0)
    eventlet.sleep(0)
    profiler = profile.Profile(timer=clock, bias=0)
    profiler.runcall(thread.wait)
    profiler.create_stats()
    assert figures(profiler, "work") == (1, 3.0, 3.0)


def test_calls_that_are_open_at_the_end_count():
    def endless():
        work(5.0)
        eventlet.sleep(60)

    thread = None

    def begin():
        nonlocal thread
        thread = eventlet.spawn(endless)
        eventlet.sleep(0)

    profiler = profile.Profile(timer=clock, bias=0)
    profiler.runcall(begin)
    profiler.create_stats()
    assert figures(profiler, "endless")[2] == 5.0
    thread.kill()


def test_run_and_runctx(capsys, tmp_path):
    profile.runctx("napping(0)", {"napping": napping}, {})
    assert "napping" in capsys.readouterr().out
    path = tmp_path / "stats"
    profile.run("import eventlet; eventlet.sleep(0)", str(path))
    assert pstats.Stats(str(path)).total_calls > 0


def test_timings_are_summed_up_after_a_run():
    profiler = profile.Profile(timer=clock, bias=0)
    assert profiler.runcall(both) is None
    assert figures(profiler, "work") == (4, 22.0, 22.0)
    assert profiler.runctx("napping(0.5)", {"napping": napping}, {}) is profiler
    assert figures(profiler, "work") == (6, 23.0, 23.0)
    with pytest.raises(ZeroDivisionError):
        profiler.runctx("1 / 0", {}, {})
    assert figures(profiler, "work") == (6, 23.0, 23.0)


def test_start_and_stop():
    profiler = profile.Profile(timer=clock, bias=0)
    profiler.runcall(napping, 1.0)

    def begin():
        profiler.start("tea")  # and its callers return without having been called

    begin()
    assert profiler.running and sys.getprofile() is not None
    profiler.start("again")
    both()
    profiler.stop()
    assert not profiler.running and sys.getprofile() is None
    assert figures(profiler, "work") == (4, 22.0, 22.0)  # what was before is forgotten
    assert ("profile", 0, "tea") in profiler.timings
    assert ("profile", 0, "again") not in profiler.timings


def test_the_profiler_as_profile_function():
    profiler = profile.Profile(timer=clock, bias=0)
    sys.setprofile(profiler)
    try:
        napping(2.0)
    finally:
        sys.setprofile(None)
    profiler.TallyTimings()
    assert figures(profiler, "work") == (2, 4.0, 4.0)


def test_what_swift_does(monkeypatch, tmp_path):
    """Its xprofile middleware puts methods of its own into the class, so that calls accumulate."""

    def setup(self):
        self._has_setup = True
        self.cur = None
        self.timings = {}
        self.current_tasklet = eventlet.getcurrent()
        self.thread_id = eventlet.patcher.original("_thread").get_ident()
        self.simulate_call("profiler")

    def runcall(self, func, *args, **kw):
        if not getattr(self, "_has_setup", False):
            self._setup()
        try:
            return self.base.runcall(self, func, *args, **kw)
        finally:
            self.TallyTimings()

    monkeypatch.setattr(profile.Profile, "_setup", setup)
    monkeypatch.setattr(profile.Profile, "runcall", runcall)
    profiler = profile.Profile(timer=clock, bias=0)
    for number in (1, 2, 3):
        profiler.runcall(both)
        assert figures(profiler, "work") == (4 * number, 22.0 * number, 22.0 * number)
    profiler.dump_stats(str(tmp_path / "stats"))
    assert pstats.Stats(str(tmp_path / "stats")).total_calls > 12
