"""The table, the machine's description, and the record in RESULTS.md.

Invariant: a median is never shown without its range, and nothing here names a path of the machine.
"""

import os
import platform
import statistics
import subprocess
import time

from .figures import PEERS, PER, PLAIN, SIDES, paired, quotient

COLUMNS = (*SIDES, PLAIN, "C")
HEADER = ("work", *COLUMNS, "ratio", "limit", "")
PEERS_HEADER = ("work", "ours", *PEERS)


def _cell(samples, side, unit):
    values = samples.values.get(side)
    if not values:
        return "failed" if side in samples.failures else ""
    middle, least, most = (
        _number(value / PER[unit])
        for value in (statistics.median(values), min(values), max(values))
    )
    return f"{middle} {unit} ({least}-{most})"


def _number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(values):
    ratio = paired(quotient, values.get("ours"), values.get("upstream"))
    if ratio is None:
        return ""
    return f"1/{1 / ratio:.3g}" if ratio < 1 else f"{ratio:.2f}"


def tried(samples, figure):
    """Whether the run has reached this figure."""
    found = samples.get(figure.name)
    return bool(found and (found.values or found.failures or found.absent))


def judge(figures, samples, python):
    """One dict per line of the table: medians, ratio, limits and the verdict."""
    lines = []
    for figure in figures:
        found = samples[figure.name]
        verdicts = []
        for limit in figure.bound_to(python):
            twin = samples.get(getattr(limit, "twin", ""))
            met = limit.met(found.values, twin and twin.values)
            if met is not None:
                verdicts.append((limit.text, met))
        lines.append(
            {
                "name": figure.name,
                "title": figure.title,
                "unit": figure.unit,
                "cells": [_cell(found, side, figure.unit) for side in COLUMNS],
                "peers": [_cell(found, side, figure.unit) for side in PEERS],
                "ratio": _ratio(found.values),
                "limits": [text for text, _ in verdicts],
                "verdict": _verdict(found, verdicts),
                "samples": found.values,
                "failures": found.failures,
                "absent": found.absent,
            }
        )
    return lines


def _verdict(samples, verdicts):
    if samples.absent:
        return "absent"
    if "ours" in samples.failures:
        return "failed"
    if not verdicts:
        return ""
    missed = [text for text, met in verdicts if not met]
    return (
        "ok" if not missed else "missed" if len(missed) == len(verdicts) else f"missed {missed[0]}"
    )


def table(lines):
    """The lines as a Markdown table, padded so that it also reads well on a terminal."""
    rows = [HEADER]
    for line in lines:
        limits = ", ".join(line["limits"])
        rows.append((line["title"], *line["cells"], line["ratio"], limits, line["verdict"]))
    return _markdown(rows, always=len(HEADER) - 1)


def peers_table(lines):
    """Other Python servers beside ours, as `table` does it; empty if none was measured."""
    rows = [PEERS_HEADER]
    for line in lines:
        if any(line["peers"]):
            rows.append((line["title"], line["cells"][0], *line["peers"]))
    return _markdown(rows) if len(rows) > 1 else ""


def _markdown(rows, always=0):
    """Rows as a Markdown table without its empty columns, but with the column ``always``."""
    keep = [
        index
        for index in range(len(rows[0]))
        if index == always or any(row[index] for row in rows[1:])
    ]
    rows = [[row[index] for index in keep] for row in rows]
    widths = [max(len(row[index]) for row in rows) for index in range(len(keep))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    )


def failures(lines):
    """One sentence per side that could not be measured."""
    for line in lines:
        if line["absent"]:
            yield f"{line['title']}: {line['absent']}"
        for side, reason in line["failures"].items():
            yield f"{line['title']}, {side}: {reason}"


def machine(python):
    """The class of this machine in one line."""
    model = platform.machine()
    with open("/proc/cpuinfo") as file:
        for text in file:
            if text.startswith("model name"):
                model = text.partition(":")[2].strip()
                break
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    version = ".".join(map(str, python))
    return (
        f"{os.cpu_count()} x {model} ({platform.machine()}), "
        f"{platform.system()} {kernel}, CPython {version}"
    )


def commit(root):
    """The short hash of the tree, with a "+" if anything but the record itself is changed."""

    def git(*arguments):
        return subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        ).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + (
        "+" if git("status", "--porcelain", "-uno", "--", ".", ":!bench/RESULTS.md") else ""
    )


def record(path, heading, body):
    """Appends one run to the record."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"\n## {day}, {heading}\n\n{body}\n")
