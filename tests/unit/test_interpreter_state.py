"""What the interpreter keeps per C stack stays with its greenlet across switches.

Handled exceptions, generators, context variables, frames; and what belongs to the thread stays with
the thread: trace and profile functions, the running asyncio loop, thread-locals.
"""

import asyncio
import contextvars
import gc
import random
import sys
import threading
import traceback
import weakref

import pytest
from greenlet import getcurrent, greenlet


def back(value=None):
    return getcurrent().parent.switch(value)


# -- handled exceptions


def test_a_new_greenlet_handles_no_exception():
    try:
        raise KeyError("outside")
    except KeyError:
        assert greenlet(sys.exc_info).switch() == (None, None, None)
        assert sys.exc_info()[0] is KeyError


def test_handled_exceptions_stay_apart():
    def run(number):
        try:
            raise ValueError(number)
        except ValueError:
            for _ in range(3):
                back()
                assert sys.exc_info()[1].args == (number,)
            try:
                raise KeyError(number)
            except KeyError as error:
                back()
                assert sys.exc_info()[1] is error
                assert error.__context__.args == (number,)
            assert sys.exc_info()[0] is ValueError
        back()
        assert sys.exc_info() == (None, None, None)
        return number

    greenlets = [greenlet(run) for _ in range(20)]
    for number, g in enumerate(greenlets):
        g.switch(number)
    order = random.Random(1)
    results = {}
    while greenlets:
        g = order.choice(greenlets)
        assert sys.exc_info() == (None, None, None)
        result = g.switch()
        if g.dead:
            greenlets.remove(g)
            results[result] = True
    assert len(results) == 20


def test_bare_raise_after_a_switch_raises_the_own_exception():
    def run(kind):
        try:
            raise kind("own")
        except Exception:
            back()
            raise

    first, second = greenlet(run), greenlet(run)
    first.switch(OSError)
    second.switch(LookupError)
    with pytest.raises(OSError):
        first.switch()
    with pytest.raises(LookupError):
        second.switch()


def test_an_exception_thrown_in_gets_no_context_from_outside():
    def run():
        try:
            raise ValueError("handled inside")
        except ValueError:
            back()

    g = greenlet(run)
    g.switch()
    try:
        raise KeyError("handled outside")
    except KeyError:
        with pytest.raises(OSError) as caught:
            g.throw(OSError("thrown"))
    assert caught.value.__context__ is None


def test_generators_that_handle_exceptions_across_switches():
    def generate(number):
        for _ in range(3):
            try:
                raise ValueError(number)
            except ValueError as error:
                back()
                assert sys.exc_info()[1] is error
                yield error
                assert sys.exc_info()[1] is error
                back()

    def run(number):
        try:
            raise KeyError(number)
        except KeyError as own:
            for _error in generate(number):
                assert sys.exc_info()[1] is own
                back()
                assert sys.exc_info()[1] is own
        return sys.exc_info()

    greenlets = [greenlet(run) for _ in range(10)]
    for number, g in enumerate(greenlets):
        g.switch(number)
    while greenlets:
        for g in list(greenlets):
            result = g.switch()
            assert sys.exc_info() == (None, None, None)
            if g.dead:
                assert result == (None, None, None)
                greenlets.remove(g)


def test_one_generator_used_by_several_greenlets():
    def generate():
        number = 0
        while True:
            try:
                raise ValueError(number)
            except ValueError:
                yield number, sys.exc_info()[1].args
            number += 1

    shared = generate()

    def run():
        for _ in range(5):
            number, args = next(shared)
            assert args == (number,)
            assert sys.exc_info() == (None, None, None)
            back(number)

    greenlets = [greenlet(run) for _ in range(3)]
    assert [g.switch() for _ in range(5) for g in greenlets] == list(range(15))


def test_a_greenlet_killed_in_an_except_block_lets_the_exception_go():
    class Marked(Exception):
        pass

    def run():
        try:
            raise Marked
        except Marked as error:
            kept.append(weakref.ref(error))
            back()

    kept = []
    g = greenlet(run)
    g.switch()
    assert kept[0]() is not None
    del g
    gc.collect()
    assert kept[0]() is None


def test_a_cycle_through_a_suspended_greenlets_context_is_collected():
    class Value:
        pass

    variable = contextvars.ContextVar("variable")

    def make():
        g = greenlet(lambda: None)
        value = Value()
        value.greenlet = g
        context = contextvars.Context()
        context.run(variable.set, value)
        g.gr_context = context
        return weakref.ref(value)

    reference = make()
    gc.collect()
    assert reference() is None


# -- context variables


def test_context_variables_stay_apart():
    variable = contextvars.ContextVar("variable", default="none")

    def run(number):
        assert variable.get() == "none"
        for step in range(5):
            variable.set((number, step))
            back()
            assert variable.get() == (number, step)
        return variable.get()

    greenlets = [greenlet(run) for _ in range(10)]
    for number, g in enumerate(greenlets):
        g.switch(number)
    for _ in range(4):
        variable.set("outside")
        for g in greenlets:
            g.switch()
            assert variable.get() == "outside"
    assert [g.switch() for g in greenlets] == [(number, 4) for number in range(10)]


def test_cached_context_variable_is_looked_up_again_after_a_switch():
    variable = contextvars.ContextVar("variable")
    variable.set("main")

    def run():
        variable.set("inside")
        while True:
            assert variable.get() == "inside"
            back()

    g = greenlet(run)
    for _ in range(100):
        g.switch()
        assert variable.get() == "main"


def test_context_entered_across_a_switch():
    variable = contextvars.ContextVar("variable", default=0)
    context = contextvars.copy_context()

    def run():
        def inside():
            variable.set(1)
            back()
            assert variable.get() == 1
            return "left"

        assert context.run(inside) == "left"
        return variable.get()

    g = greenlet(run)
    g.switch()
    assert variable.get() == 0
    with pytest.raises(RuntimeError):
        context.run(lambda: None)  # still entered, by the greenlet
    assert g.switch() == 0
    assert context[variable] == 1


# -- frames


def test_frames_of_a_suspended_greenlet_can_be_walked():
    def inner():
        back()

    def outer():
        list(map(lambda _: inner(), [1]))

    g = greenlet(outer)
    g.switch()
    names = []
    frame = g.gr_frame
    while frame:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    assert names == ["back", "inner", "<lambda>", "outer"]
    assert "inner" in "".join(traceback.format_stack(g.gr_frame))
    g.switch()
    assert g.gr_frame is None


def test_frames_outlive_their_greenlet():
    def run(value):
        local = value
        back()
        return local

    g = greenlet(run)
    g.switch("kept")
    frame = g.gr_frame.f_back
    g.switch()
    del g
    gc.collect()
    assert frame.f_locals["local"] == "kept"
    assert frame.f_back is None


def test_walking_frames_of_many_greenlets_while_they_run():
    def run(levels):
        if levels:
            run(levels - 1)
        else:
            for _ in range(10):
                back()

    greenlets = [greenlet(run) for _ in range(50)]
    for number, g in enumerate(greenlets):
        g.switch(number)
    for _ in range(9):
        for number, g in enumerate(greenlets):
            assert len(traceback.extract_stack(g.gr_frame)) == number + 2
            g.switch()
        gc.collect()


def test_getframe_ends_at_the_greenlets_first_frame():
    def run():
        frame = sys._getframe()
        assert frame.f_back is None
        with pytest.raises(ValueError):
            sys._getframe(1)
        return frame.f_code.co_name

    assert greenlet(run).switch() == "run"


def test_current_frames_shows_the_running_greenlet():
    def run():
        return sys._current_frames()[threading.get_ident()].f_code.co_name

    assert greenlet(run).switch() == "run"


# -- what belongs to the thread


def names_of(events, kind):
    return [name for event, name in events if event == kind]


@pytest.fixture
def no_hooks():
    trace, profile = sys.gettrace(), sys.getprofile()
    yield
    sys.settrace(trace)
    sys.setprofile(profile)


@pytest.mark.parametrize("setter", [sys.settrace, sys.setprofile])
def test_trace_functions_see_every_greenlet(no_hooks, setter):
    events = []

    def hook(frame, event, argument):
        if frame.f_code.co_filename == __file__ and frame.f_code.co_name.startswith("t_"):
            events.append((event, frame.f_code.co_name))
        return hook

    def t_called():
        pass

    def run():
        t_called()
        back()
        t_called()

    before = greenlet(run)
    before.switch()  # suspended in the middle when the hook is set
    started = greenlet(run)
    setter(hook)
    started.switch()
    before.switch()
    t_called()
    setter(None)
    started.switch()
    assert names_of(events, "call") == ["t_called"] * 3
    assert names_of(events, "return") == ["t_called"] * 3


@pytest.mark.parametrize("setter", [sys.settrace, sys.setprofile])
def test_trace_function_set_in_a_greenlet_holds_for_the_thread(no_hooks, setter):
    events = []

    def hook(frame, event, argument):
        if frame.f_code.co_name == "t_called":
            events.append((event, "t_called"))
        return hook

    def t_called():
        pass

    def run():
        setter(hook)
        back()
        setter(None)
        back()

    other = greenlet(t_called)
    g = greenlet(run)
    g.switch()
    t_called()
    other.switch()
    g.switch()
    t_called()
    g.switch()
    assert names_of(events, "call") == ["t_called"] * 2


def test_line_events_go_on_after_a_switch(no_hooks):
    lines = []

    def hook(frame, event, argument):
        if frame.f_code.co_name != "t_run":
            return None
        if event == "line":
            lines.append(frame.f_lineno - frame.f_code.co_firstlineno)
        return hook

    def t_run():
        value = 1
        back()
        value += 1
        return value

    sys.settrace(hook)
    g = greenlet(t_run)
    g.switch()
    sys.settrace(sys.gettrace())
    g.switch()
    sys.settrace(None)
    assert lines == [1, 2, 3, 4]


def test_a_trace_function_may_switch(no_hooks):
    seen = []

    def other():
        while True:
            back()

    g = greenlet(other)
    g.switch()

    def hook(frame, event, argument):
        if frame.f_code.co_name == "t_called":
            seen.append(event)
            g.switch()
        return hook

    def t_called():
        return 1

    sys.settrace(hook)
    t_called()
    sys.settrace(None)
    assert seen == ["call", "line", "return"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_monitoring_sees_every_greenlet():
    monitoring = sys.monitoring
    tool = monitoring.PROFILER_ID
    called = []

    def t_called():
        pass

    def run():
        t_called()
        back()
        t_called()

    g = greenlet(run)
    g.switch()
    monitoring.use_tool_id(tool, "test")
    try:
        monitoring.register_callback(
            tool, monitoring.events.PY_START, lambda code, offset: called.append(code.co_name)
        )
        monitoring.set_events(tool, monitoring.events.PY_START)
        g.switch()
        greenlet(t_called).switch()
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
    assert called.count("t_called") == 2


def test_the_running_asyncio_loop_is_seen_from_greenlets():
    async def main():
        loop = asyncio.get_running_loop()
        assert greenlet(asyncio.get_running_loop).switch() is loop
        assert greenlet(asyncio.current_task).switch() is asyncio.current_task()

    asyncio.run(main())


def test_thread_locals_and_async_generator_hooks_belong_to_the_thread():
    local = threading.local()
    local.value = "thread"

    def hook(generator):
        pass

    before = sys.get_asyncgen_hooks()
    try:
        greenlet(lambda: sys.set_asyncgen_hooks(firstiter=hook)).switch()
        assert sys.get_asyncgen_hooks().firstiter is hook
        assert greenlet(lambda: local.value).switch() == "thread"
    finally:
        sys.set_asyncgen_hooks(*before)


# -- all of it at once


def test_interleaved_greenlets_keep_all_their_state():
    variable = contextvars.ContextVar("variable")

    def generate(number, levels):
        if levels:
            yield from generate(number, levels - 1)
        for step in range(4):
            try:
                raise ValueError(number, step)
            except ValueError as error:
                back()
                assert sys.exc_info()[1] is error
                yield step

    def run(number):
        variable.set(number)
        total = 0
        for step in generate(number, number % 7):
            total += sorted([step, number], key=lambda item: back() or item)[0]
            assert variable.get() == number
            assert sys.exc_info() == (None, None, None)
        return total

    order = random.Random(7)
    greenlets = {greenlet(run): number for number in range(60)}
    for g, number in greenlets.items():
        g.switch(number)
    expected = {
        number: (number % 7 + 1) * sum(min(step, number) for step in range(4))
        for number in range(60)
    }
    running = list(greenlets)
    while running:
        g = order.choice(running)
        if order.random() < 0.01:
            gc.collect()
        if order.random() < 0.05 and g.gr_frame is not None:
            traceback.extract_stack(g.gr_frame)
        result = g.switch()
        if g.dead:
            assert result == expected[greenlets[g]]
            running.remove(g)
