"""What attackers look for on a machine: log-ins that nobody gets through, and services that take files.

--ftp PORT      FTP (RFC 959): USER and PASS, answered 530 always
--ssh PORT      ssh-like: the version lines of RFC 4253, then messages of the sizes of a key exchange and of a
                refused password.  No cryptography: on the wire it looks like a failed log-in, and is none.
--files PORT    takes all that is sent and says how much it was
"""

from __future__ import annotations

import argparse
import socketserver
import threading

from netpersona.app.lab.programs.both_families import BothFamilies

SSH_VERSION = b"SSH-2.0-np_lab\r\n"
SSH_EXCHANGE = ((1_080, 1_048), (1_200, 564), (52, 52), (148, 84))
"""Bytes asked and answered, as OpenSSH 9 has them: algorithms, keys, service, a password refused."""


class _Ftp(socketserver.StreamRequestHandler):
    timeout = 30

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline(512):
            word = line.split(b" ")[0].strip().upper()
            said = {b"USER": b"331 password please\r\n", b"PASS": b"530 no\r\n", b"QUIT": b"221 bye\r\n"}
            self.wfile.write(said.get(word, b"530 log in first\r\n"))
            if word == b"QUIT":
                return


class _Ssh(socketserver.StreamRequestHandler):
    timeout = 30

    def handle(self) -> None:
        self.wfile.write(SSH_VERSION)
        if not self.rfile.readline(256).startswith(b"SSH-2.0-"):
            return
        for asked, answered in SSH_EXCHANGE:
            if len(self.rfile.read(asked)) < asked:
                return
            self.wfile.write(bytes(answered))


class _Files(socketserver.StreamRequestHandler):
    timeout = 30

    def handle(self) -> None:
        taken = 0
        while block := self.request.recv(1 << 16):
            taken += len(block)
        self.wfile.write(f"{taken} bytes\n".encode())


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    kinds = {"ftp": _Ftp, "ssh": _Ssh, "files": _Files}
    for name in kinds:
        parser.add_argument(f"--{name}", type=int, action="append", default=[])
    said = vars(parser.parse_args())
    servers = [BothFamilies(("::", port), kind) for name, kind in kinds.items() for port in said[name]]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
