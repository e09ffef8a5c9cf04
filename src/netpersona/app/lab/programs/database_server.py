"""A database: one SQL question a line in, its rows as one line of JSON out.  It is SQLite behind a socket."""

from __future__ import annotations

import argparse
import json
import socketserver
import sqlite3
import threading

from netpersona.app.lab.programs.both_families import BothFamilies


class _Questions(socketserver.StreamRequestHandler):
    timeout = 60
    database: sqlite3.Connection
    one_at_a_time = threading.Lock()

    def handle(self) -> None:
        """Answer until the client leaves."""
        while line := self.rfile.readline(4_096):
            try:
                with self.one_at_a_time:
                    rows = self.database.execute(line.decode("utf-8", "replace")).fetchmany(1_000)
            except sqlite3.Error as error:
                rows = [("error", str(error))]
            self.wfile.write(json.dumps(rows).encode() + b"\n")


def _filled() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.execute("CREATE TABLE goods (name TEXT PRIMARY KEY, price INTEGER)")
    database.executemany("INSERT INTO goods VALUES (?, ?)", ((f"item {n:04d}", n * 7 % 1_000) for n in range(500)))
    database.execute("PRAGMA query_only = ON")
    return database


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    said = parser.parse_args()
    _Questions.database = _filled()
    BothFamilies(("::", said.port), _Questions).serve_forever()


if __name__ == "__main__":
    main()
