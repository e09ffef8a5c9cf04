"""When a process is started that judges beside this one."""

import os

from netpersona.app import shard


def started(sources):
    begun = shard.start_for(sources)
    for process, connection in begun:
        connection.close()
        process.join(60)
        assert process.exitcode == 0, "it ends when nobody needs it"
    return len(begun)


def test_only_much_to_read_starts_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(shard, "processors", lambda: 3)
    monkeypatch.setattr(shard, "MUCH", 1_000)
    day = tmp_path / "logs" / "day"
    day.mkdir(parents=True)
    (day / "conn.log").write_bytes(bytes(600))
    assert started([tmp_path / "logs" / "day" / "conn.log"]) == 0
    (day / "dns.log").write_bytes(bytes(400))
    assert started([tmp_path / "missing.log", day]) == 2


def test_this_process_keeps_its_threads(monkeypatch):
    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    [(process, connection)] = shard.start(1)
    connection.close()
    process.join(60)
    assert "POLARS_MAX_THREADS" not in os.environ
