"""Fetches many URLs at once with ordinary blocking code: urllib.request, made green by monkey_patch().

A server in another process answers each request after 50 ms. 200 green threads share the work.

    python examples/fetch_many.py --requests 1000 --concurrency 200
"""

import eventlet

eventlet.monkey_patch()

import argparse  # noqa: E402
import resource  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import urllib.request  # noqa: E402
from pathlib import Path  # noqa: E402

SERVER = Path(__file__).with_name("slow_server.py")


def fetch(url):
    """Seconds that one request took, and what went wrong (None if nothing did)."""
    start = time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            body = response.read()
        wanted = url.rpartition("/")[2].encode()
        problem = None if body.endswith(b"/" + wanted + b"\n") else f"wrong answer: {body!r}"
    except OSError as error:
        problem = repr(error)
    return time.monotonic() - start, problem


def show_progress(done, total):
    if sys.stdout.isatty():
        filled = 40 * done // total
        bar = "#" * filled + "." * (40 - filled)
        print(f"\r[{bar}] {done}/{total}", end="" if done < total else "\n", flush=True)


def fetch_all(base, requests, concurrency):
    """Results of `fetch`, in the order of the URLs."""
    pool = eventlet.GreenPool(concurrency)
    results = []
    for result in pool.imap(fetch, (f"{base}/{number}" for number in range(requests))):
        results.append(result)
        show_progress(len(results), requests)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=200, help="green threads")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds the server waits")
    options = parser.parse_args()

    command = [sys.executable, SERVER, "--delay", str(options.delay)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        base = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        start = time.monotonic()
        results = fetch_all(base, options.requests, options.concurrency)
        seconds = time.monotonic() - start
    finally:
        server.stdin.close()
        server.wait(timeout=30)
        server.stdout.close()

    problems = [problem for _, problem in results if problem]
    waited = sum(took for took, _ in results)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mib = peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
    for name, value in (
        ("requests", f"{len(results)}"),
        ("failures", f"{len(problems)}"),
        ("seconds", f"{seconds:.2f}"),
        ("sum of the waits, s", f"{waited:.2f}"),
        ("speed-up", f"{waited / seconds:.1f}x"),
        ("peak memory, MiB", f"{peak_mib:.1f}"),
    ):
        print(f"{name:<20} {value:>10}")
    for problem in sorted(set(problems)):
        print(f"failed {problems.count(problem)} times: {problem}", file=sys.stderr)
    return 1 if problems or len(results) != options.requests else 0


if __name__ == "__main__":
    sys.exit(main())
