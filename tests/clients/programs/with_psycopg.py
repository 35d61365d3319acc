"""psycopg 3, which waits by selectors."""

import sys

import psycopg
from crowd import gather

TARGET = f"host=127.0.0.1 port={sys.argv[1]} user=postgres dbname=postgres"


def work(number):
    with psycopg.connect(TARGET) as connection:
        row = connection.execute("SELECT pg_sleep(0.2), %s::int", (number,)).fetchone()
        with connection.cursor() as cursor:
            cursor.execute("SELECT generate_series(1, %s)", (number,))
            return row[1], len(cursor.fetchall())


assert gather(work, 0.2) == [(number, number) for number in range(100)]
