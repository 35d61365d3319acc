"""Lets psycopg 3 wait by `select.poll`, which is green once patched, and not in C of its own.

psycopg chooses how it waits when it is imported, and asks the environment variable
PSYCOPG_WAIT_FUNC first; a choice that was made there stays.
"""

import os
import sys

VARIABLE = "PSYCOPG_WAIT_FUNC"


def make_psycopg3_green():
    """Have connections of psycopg 3 wait green, whether it was imported or will be. *May switch: no.*"""
    choice = os.environ.setdefault(VARIABLE, "wait_poll")
    waiting = sys.modules.get("psycopg.waiting")
    if waiting is not None:
        waiting.wait = getattr(waiting, choice, waiting.wait)
