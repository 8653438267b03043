"""Generated modules under `tinyhost serve`: see .ci/generated-serve.

serve.py TINYHOST GENERATED SECONDS SEED
"""

import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

TINYHOST, GENERATED, SECONDS, SEED = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
OPTIONS = [
    "--bind=127.0.0.1:0", "--keep-open", "--workers=2", "--ahead=2", "--log-level=info",
    "--timeout=500ms", "--fuel=20000000", "--memory=4M", "--memory-total=48M", "--stack=128K",
    "--max-reply=64K", "--max-fds=8",
]
CLIENTS = 6
# How long each module is asked for.
A_MODULE = 0.7
# No machine is so busy that an innocent line takes longer.
PATIENCE = 30
INNOCENT = b"innocent %d\n"

random.seed(SEED)
work = pathlib.Path(tempfile.mkdtemp(prefix="generated-serve-"))
program, new = work / "program.wasm", work / "new.wasm"
over = threading.Event()
count = {"modules": 0, "refused": 0, "asked": 0, "answered": 0, "slowest": 0.0, "skipped": 0}
locks = threading.Lock()
failures = []


def fail(why):
    failures.append(why)
    over.set()


def module(seed):
    """A module in which an innocent line is answered, if one comes of the seed."""
    kind = "module" if seed % 3 == 0 else "hostile"
    made = subprocess.run([GENERATED, kind, str(seed)], capture_output=True, timeout=60)
    if made.returncode != 0:
        return None
    new.write_bytes(made.stdout)
    run = [TINYHOST, "run", "--quiet", "--memory=4M", "--stack=128K", "--timeout=10s", str(new)]
    try:
        ran = subprocess.run(run, input=INNOCENT % 0, capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        fail(f"seed {seed}: tinyhost run goes on beyond --timeout")
        return None
    if ran.returncode < 0:
        fail(f"seed {seed}: tinyhost run was ended by signal {-ran.returncode}: {ran.stderr}")
    return made.stdout if (ran.returncode, ran.stdout) == (0, INNOCENT % 0) else None


def broken(bytes_):
    """The same with some bytes changed, if nobody would take it for a program."""
    changed = bytearray(bytes_)
    for _ in range(random.randrange(1, 4)):
        changed[random.randrange(8, len(changed))] = random.randrange(256)
    new.write_bytes(changed)
    run = [TINYHOST, "run", "--quiet", "--memory=4M", "--timeout=2s", "--fuel=1000000", str(new)]
    ran = subprocess.run(run, input=b"x\n", capture_output=True, timeout=60)
    if ran.returncode < 0:
        fail(f"changed: tinyhost run was ended by signal {-ran.returncode}; see {new}")
    return bytes(changed) if ran.returncode == 125 else None


class Server:
    """The process, and the lines it writes."""

    def __init__(self):
        self.process = subprocess.Popen(
            [TINYHOST, "serve", *OPTIONS, str(program)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.tail, self.reloads = [], 0
        self.changed = threading.Condition()
        self.port = None
        threading.Thread(target=self.read, daemon=True).start()
        with self.changed:
            if not self.changed.wait_for(lambda: self.port, PATIENCE):
                sys.exit(f"generated-serve: it does not listen: {self.tail}")

    def read(self):
        for line in self.process.stderr:
            line = line.decode(errors="replace").rstrip()
            with self.changed:
                self.tail = (self.tail + [line])[-30:]
                listening = re.search(r"listening on .*:(\d+)", line)
                if listening:
                    self.port = int(listening[1])
                if "reloaded" in line:
                    self.reloads += 1
                self.changed.notify_all()

    def load(self, bytes_):
        """Has it take another program; it is only waited that it has said what came of it."""
        before = self.reloads
        new.write_bytes(bytes_)
        os.replace(new, program)
        self.process.send_signal(signal.SIGHUP)
        with self.changed:
            if not self.changed.wait_for(lambda: self.reloads > before or over.is_set(), PATIENCE):
                fail("it does not say that it has loaded a program")

    def connect(self):
        client = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client


def innocent(server):
    """Asks line after line on one connection, and wants each of them back."""
    client = server.connect()
    reader = client.makefile("rb")
    number = 0
    while not over.is_set():
        number += 1
        began = time.monotonic()
        try:
            client.sendall(INNOCENT % number)
            answer = reader.readline()
        except OSError as error:
            return fail(f"innocent line {number} is not answered: {error!r}")
        took = time.monotonic() - began
        if answer != INNOCENT % number:
            return fail(f"innocent line {number} is answered with {answer!r}")
        with locks:
            count["answered"] += 1
            count["slowest"] = max(count["slowest"], took)
        time.sleep(0.002)


def hostile(server, seed):
    """Asks for the worst, reads some of what comes, and goes away in the middle at times."""
    dice = random.Random(seed)
    while not over.is_set():
        try:
            client = server.connect()
            client.settimeout(2)
            for _ in range(dice.randrange(1, 8)):
                first = dice.choice([b for b in range(256) if b not in b"i\n"])
                rest = bytes(dice.choice(b"abcxyz\0\xff") for _ in range(dice.randrange(40)))
                client.sendall(bytes([first]) + rest + b"\n")
                with locks:
                    count["asked"] += 1
                if dice.random() < 0.8:
                    client.recv(dice.choice([1, 100, 65536]))
            client.close()
        except OSError:
            pass


def main():
    seed, first = SEED, None
    while first is None:
        seed += 1
        first = module(seed)
    program.write_bytes(first)
    server = Server()
    threads = [threading.Thread(target=innocent, args=(server,))]
    threads += [threading.Thread(target=hostile, args=(server, SEED + at)) for at in range(CLIENTS)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and not over.is_set():
        time.sleep(A_MODULE)
        if server.process.poll() is not None:
            fail(f"the process has ended: {server.process.returncode}, at seed {seed}")
            break
        seed += 1
        made = module(seed)
        if made is None:
            count["skipped"] += 1
            continue
        if seed % 4 == 0 and (wrong := broken(made)) is not None:
            count["refused"] += 1
            server.load(wrong)
        count["modules"] += 1
        server.load(made)
    over.set()
    for thread in threads:
        thread.join(PATIENCE + 5)
    if server.process.poll() is None and not failures:
        with server.connect() as client:
            client.sendall(INNOCENT % 1)
            if client.makefile("rb").readline() != INNOCENT % 1:
                failures.append("an innocent client is not answered in the end")
        server.process.send_signal(signal.SIGTERM)
        try:
            status = server.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            status = "none: it does not stop"
        if status != 0:
            failures.append(f"its status is {status}")
    server.process.kill()
    print(f"generated-serve: {SECONDS} s from seed {SEED}: {count}")
    if failures:
        print("\n".join(server.tail))
        sys.exit(f"generated-serve: {failures[0]} (program {program}, last seed {seed})")
    for path in work.iterdir():
        path.unlink()
    work.rmdir()


main()
