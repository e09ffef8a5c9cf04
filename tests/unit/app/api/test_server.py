"""The socket: who may ask, what is refused, and what becomes of what a dead controller left behind."""

from __future__ import annotations

import grp
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from netpersona.app.api.bounds import MOST
from netpersona.app.api.server import Server
from netpersona.app.client import Controller, UnreachedError
from netpersona.errors import ConfigError, NetpersonaError

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user can be played by root only")
AS_ANOTHER = """\
import os, socket, sys
groups = [int(group) for group in sys.argv[3].split(",") if group]
os.setgroups(groups); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
asked = socket.socket(socket.AF_UNIX)
asked.connect(sys.argv[1])
asked.sendall(b"GET /api/v1/health HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
answer = b""
while part := asked.recv(65536):
    answer += part
sys.stdout.buffer.write(answer)
"""


@pytest.fixture
def open_place():
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def asked_as(path, uid, *groups):
    """The status and the body of what another user is told."""
    arguments = [sys.executable, "-I", "-c", AS_ANOTHER, str(path), str(uid), ",".join(map(str, groups))]
    done = subprocess.run(arguments, capture_output=True, check=True, timeout=600)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def raw(path, sent):
    """What the server answers to these bytes."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(60)
        asked.connect(str(path))
        asked.sendall(sent)
        answer = b""
        while part := asked.recv(65536):
            answer += part
    return answer


def test_the_socket_is_for_owner_and_group_and_goes_with_the_server(service, tmp_path):
    path = tmp_path / "made" / "api.sock"
    server = Server(service, path)
    server.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert server.alive
    assert Controller(path).health()["well"]
    server.stop()
    assert not path.exists()
    assert not server.alive
    assert [file.name for file in path.parent.iterdir()] == []
    with pytest.raises(UnreachedError, match="netpersona up"):
        Controller(path).health()


def test_a_stale_socket_is_replaced_a_live_one_refused(service, tmp_path):
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = Server(service, path)
    server.start()
    with pytest.raises(ConfigError, match="another controller answers there"):
        Server(service, path).start()
    assert Controller(path).health()["well"]
    server.stop()
    path.write_text("notes")
    with pytest.raises(ConfigError, match="is no socket"):
        Server(service, path).start()
    assert path.read_text() == "notes"


def test_a_socket_that_another_controller_made_since_is_left_to_it(service, tmp_path):
    path = tmp_path / "api.sock"
    first, second = Server(service, path), Server(service, path)
    first.start()
    path.unlink()
    second.start()
    first.stop()
    assert Controller(path).health()["well"]
    second.stop()


def test_an_unknown_group_is_told(service, tmp_path):
    with pytest.raises(ConfigError, match="no group 'no-such-group'"):
        Server(service, tmp_path / "api.sock", "no-such-group")


def test_a_path_that_cannot_be(service, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="name another socket"):
        Server(service, tmp_path / "file" / "api.sock").start()
    with pytest.raises(ConfigError, match="name another socket"):
        Server(service, tmp_path / ("x" * 200)).start()


@needs_root
def test_another_user_is_refused_and_told_what_to_do(service, open_place):
    server = Server(service, open_place / "api.sock")
    server.start()
    server.path.chmod(0o666)  # even where the file would let anybody in
    status, told = asked_as(server.path, NOBODY)
    assert status == 403
    assert told["type"] == "urn:netpersona:problem:access"
    assert "root" in told["advice"]
    assert "group" in told["advice"]
    status, _ = asked_as(server.path, NOBODY, 0)  # root's group is not the user root
    assert status == 403
    server.stop()


@needs_root
def test_members_of_the_group_may_ask(service, open_place):
    group = grp.getgrgid(12).gr_name if any(g.gr_gid == 12 for g in grp.getgrall()) else grp.getgrall()[-1].gr_name
    number = grp.getgrnam(group).gr_gid
    server = Server(service, open_place / "api.sock", group)
    server.start()
    assert server.path.stat().st_gid == number
    status, told = asked_as(server.path, NOBODY, number)
    assert (status, told["kind"]) == (200, "Health")
    with pytest.raises(subprocess.CalledProcessError):  # the mode of the file keeps the others out
        asked_as(server.path, NOBODY)
    server.stop()


def test_bodies_are_bounded_whatever_they_say_of_themselves(server, http):
    big = {"texts": {"a.yaml": "x" * MOST}}
    answer = http.post("/policy-plans", json=big)
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:netpersona:problem:size"

    def parts():
        for _ in range(MOST // 65536 + 2):
            yield b" " * 65536

    assert http.post("/policy-plans", content=parts()).status_code == 413
    assert http.get("/health").status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /api/v1/health HTTP/1.1\r\n\r\n",  # without Host
        b"POST /api/v1/policy-plans HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/policy-plans HTTP/1.1\r\nHost: x\r\nContent-Length: 1e9\r\n\r\n",
        b"GET /api/v1/" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(server, sent):
    assert raw(server.path, sent).split()[1].startswith(b"4")
    assert Controller(server.path).health()["well"]


def test_many_may_ask_at_once(server):
    told = []

    def asks():
        told.append(len(Controller(server.path).personas()))

    threads = [threading.Thread(target=asks) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert told == [4] * 16


def test_what_goes_wrong_inside_is_told_without_its_traceback(server, http, service):
    service.health = lambda: 1 / 0
    answer = http.get("/health")
    assert answer.status_code == 500
    assert "ZeroDivisionError" in answer.json()["detail"]
    assert "Traceback" not in answer.text
    with pytest.raises(Exception, match="ZeroDivisionError"):
        Controller(server.path).health()


def test_a_server_of_something_else_is_told(tmp_path):
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answers():
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(b"220 mail.example ESMTP\r\n")
            connection.close()

        thread = threading.Thread(target=answers)
        thread.start()
        with pytest.raises(Exception, match="broke off"):
            Controller(path).health()
        thread.join()


def test_a_controller_that_hangs_is_told(service, server, monkeypatch):
    monkeypatch.setattr("netpersona.app.client._SOON", 0.2)
    go_on = threading.Event()
    service.health = lambda: go_on.wait(300)
    with pytest.raises(NetpersonaError, match=r"did not answer within 0\.2 s"):
        Controller(server.path).health()
    go_on.set()
