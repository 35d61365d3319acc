"""PyMySQL: a connection for each green thread, queries that wait in the server, transactions."""

import sys

import pymysql
from crowd import gather


def connect():
    return pymysql.connect(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        user="tea",
        password="cup",
        database="test",
        ssl_disabled=True,
    )


with connect() as first, first.cursor() as cursor:
    cursor.execute("CREATE TABLE numbers (n INT PRIMARY KEY, text VARCHAR(200))")


def work(number):
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT SLEEP(0.2)")
        cursor.execute("INSERT INTO numbers VALUES (%s, %s)", (number, "ü" * number))
        connection.commit()
        cursor.execute("SELECT text FROM numbers WHERE n = %s", (number,))
        ((text,),) = cursor.fetchall()
        return text


assert gather(work, 0.2) == ["ü" * number for number in range(100)]
with connect() as last, last.cursor() as cursor:
    cursor.execute("SELECT COUNT(*), SUM(n) FROM numbers")
    assert cursor.fetchone() == (100, 4950)
