import sqlite3

with sqlite3.connect("corpus.db") as db:
    db.execute("CREATE TABLE IF NOT EXISTS docs (id INTEGER PRIMARY KEY, a REAL, b REAL, c REAL, year INTEGER)")
    db.executemany("INSERT INTO docs (a, b, c, year) VALUES (?, ?, ?, ?)",
                   [((i * 7 % 13) / 13, (i * 5 % 11) / 11, (i % 17) / 17, 1900 + i % 100) for i in range(600)])
