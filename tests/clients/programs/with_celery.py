"""Celery: a real worker on its eventlet pool; tasks, retries, a chord, growth, remote control, termination."""

import os
import subprocess
import sys
import time

import celery

PORT = os.environ.get("BROKER_PORT") or sys.argv[1]

app = celery.Celery(
    "with_celery",
    broker=f"redis://127.0.0.1:{PORT}/0",
    backend=f"redis://127.0.0.1:{PORT}/1",
)


@app.task
def nap(number):
    time.sleep(0.2)
    return 2 * number


@app.task
def add(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=2, default_retry_delay=0.1)
def flaky(self, number):
    if self.request.retries < 2:
        raise self.retry()
    return number


@app.task
def hang():
    time.sleep(600)


def drive():
    from crowd import gather

    def work(number):
        return nap.delay(number).get(timeout=60), flaky.delay(number).get(timeout=60)

    assert nap.delay(1).get(timeout=60) == 2  # the worker has come up
    assert app.control.ping(timeout=20, limit=1), "the worker does not answer"
    assert gather(work, 0.4) == [(2 * number, number) for number in range(100)]
    chord = celery.chord((nap.s(number) for number in range(20)), add.s())
    assert chord().get(timeout=60) == 380
    assert nap.apply_async((4,), countdown=0.5).get(timeout=60) == 8
    answer = app.control.pool_grow(5, reply=True, timeout=20, limit=1)
    assert "ok" in next(iter(answer[0].values())), answer
    answer = app.control.pool_shrink(3, reply=True, timeout=20, limit=1)
    assert "ok" in next(iter(answer[0].values())), answer
    stats = app.control.inspect(timeout=20, limit=1).stats()
    assert next(iter(stats.values()))["pool"]["max-concurrency"] == 52, stats
    hung = hang.delay()
    while not any(app.control.inspect(timeout=20, limit=1).active().values()):
        pass
    app.control.revoke(hung.id, terminate=True)
    try:
        hung.get(timeout=60)
    except celery.exceptions.TaskRevokedError:
        pass
    else:
        raise AssertionError("the task was not revoked")


if __name__ == "__main__":
    command = [sys.executable, "-m", "celery", "-A", "with_celery", "worker"]
    worker = subprocess.Popen(
        [*command, "-P", "eventlet", "-c", "50", "-l", "WARNING"],
        stdout=sys.stderr,
        cwd=os.path.dirname(os.path.abspath(__file__)),
        env={**os.environ, "BROKER_PORT": PORT},
    )
    try:
        drive()
        app.control.shutdown()
        assert worker.wait(30) == 0
    finally:
        worker.kill()
