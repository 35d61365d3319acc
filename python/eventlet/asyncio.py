"""Green threads and coroutines for each other; needs the asyncio hub (`EVENTLET_HUB=asyncio`).

`spawn_for_awaitable` lets a green thread wait for a coroutine; a coroutine awaits a green thread as
it is. Cancelling either side cancels the other. Coroutines run in the hub's greenlet: what would
block there (a green lock, a green socket) raises RuntimeError instead.
"""

import asyncio

from greenlet import GreenletExit, _core

from eventlet import event, greenthread, hubs

__all__ = ["spawn_for_awaitable"]

_NEEDED = (
    "This needs eventlet's asyncio hub: set the environment variable EVENTLET_HUB=asyncio, or call "
    "eventlet.hubs.use_hub('asyncio') before anything else."
)


def _asyncio_hub():
    from eventlet.hubs import asyncio as asyncio_hub

    hub = hubs.get_hub()
    if not isinstance(hub, asyncio_hub.Hub):
        raise RuntimeError(_NEEDED)
    return hub


def spawn_for_awaitable(coroutine):
    """Return a `GreenThread` whose result is that of *coroutine*, which may be a future or a task, too.

    The awaitable runs in the hub's asyncio loop. Killing the green thread cancels it; if it is
    cancelled otherwise, `wait()` raises GreenletExit, as for a green thread that was killed. Raises
    RuntimeError unless the hub is the asyncio one, TypeError for what cannot be awaited, ValueError
    for a future of another loop. *May switch: no.*

    >>> import eventlet.hubs
    >>> eventlet.hubs.use_hub("asyncio")
    >>> import asyncio
    >>> async def brew():
    ...     await asyncio.sleep(0.001)
    ...     return "tea"
    >>> spawn_for_awaitable(brew()).wait()
    'tea'
    >>> eventlet.hubs.use_hub()
    """
    loop = _asyncio_hub().loop
    future = asyncio.ensure_future(coroutine, loop=loop)
    thread = greenthread.spawn(_result, future)
    thread.link(_cancel, future)
    return thread


def _result(future):
    done = event.Event()
    future.add_done_callback(lambda _: done.send())
    done.wait()
    try:
        return future.result()
    except asyncio.CancelledError:
        raise GreenletExit("the awaitable was cancelled") from None


def _cancel(thread, future):
    # Linked: the green thread has ended.
    if not future.done():
        future.cancel()


def _await(thread):
    """Return what `GreenThread.__await__` does: an iterator that ends when *thread* has. Called natively."""
    hub = _asyncio_hub()
    loop = hub.loop
    future = loop.create_future()

    def settle():
        if future.done():
            return
        try:
            result = thread.wait()
        except GreenletExit:
            future.cancel()
        except StopIteration as error:
            # A future cannot raise it.
            future.set_exception(RuntimeError("the green thread raised StopIteration"))
            future.exception().__cause__ = error
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def ended(_):
        # Links run in the thread that finishes, which may be another OS thread's.
        if _core.existing_hub() is hub:
            settle()
        elif not loop.is_closed():
            loop.call_soon_threadsafe(settle)

    def stop(future):
        if future.cancelled() and not thread.dead:
            thread.kill()

    future.add_done_callback(stop)
    thread.link(ended)
    return future.__await__()
