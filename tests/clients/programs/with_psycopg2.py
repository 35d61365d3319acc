"""psycopg2, whose waiting `monkey_patch()` leads to the hub."""

import sys

import psycopg2
from crowd import gather

TARGET = f"host=127.0.0.1 port={sys.argv[1]} user=postgres dbname=postgres"


def work(number):
    connection = psycopg2.connect(TARGET)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.2), %s, repeat('x', %s)", (number, number * 1000))
            _, back, text = cursor.fetchone()
            try:
                cursor.execute("SELECT 1 / 0")
            except psycopg2.errors.DivisionByZero:
                connection.rollback()
            return back, len(text)
    finally:
        connection.close()


assert gather(work, 0.2) == [(number, number * 1000) for number in range(100)]
