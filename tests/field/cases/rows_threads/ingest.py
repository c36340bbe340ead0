import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

LOCK = threading.Lock()


def parse(host):
    """Yields the events of a host; the network makes it slow."""
    for i in range(12):
        time.sleep(((host * 5 + i * 3) % 4) / 1000)
        yield host, i, (host * 31 + i * 17) % 23 / 23, (host + i) % 2


def ingest(db, host):
    for row in parse(host):
        with LOCK:
            db.execute("INSERT INTO events (host, seq, load, failed) VALUES (?, ?, ?, ?)", row)


def fill(path, hosts=8):
    db = sqlite3.connect(path, check_same_thread=False)
    db.execute("CREATE TABLE events (host INTEGER, seq INTEGER, load REAL, failed INTEGER)")
    with ThreadPoolExecutor(4) as pool:
        for host in range(hosts):
            pool.submit(ingest, db, host)
    db.commit()
    return db
