"""What .ci/nats does. Its client of NATS is as much as the test needs."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TINYHOST, MESSAGES = sys.argv[1], int(sys.argv[2])
GUEST = "fixtures/zigcat.wasm"  # It prints its line in upper case.
PROCESSES = 3
KILL_EVERY = 0.2
RESTARTS = 5
LIMIT = 600


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# All processes that were started.
STARTED = []


def begin(command, log):
    process = subprocess.Popen(command, stdout=log, stderr=log)
    STARTED.append(process)
    return process


class Client:
    def __init__(self, port, **login):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        options = {"verbose": False, "headers": True, "no_responders": True, **login}
        self.socket.sendall(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")
        assert self.file.readline() == b"PONG\r\n"
        self.socket.sendall(b"SUB _INBOX.test.> 1\r\n")
        self.count = 0

    def message(self):
        """The next one: its subject, its headers, its payload."""
        while True:
            words = self.file.readline().split()
            if not words:
                raise EOFError
            if words[0] == b"PING":
                self.socket.sendall(b"PONG\r\n")
            if words[0] in (b"MSG", b"HMSG"):
                body = self.file.read(int(words[-1]) + 2)[:-2]
                headers = int(words[-2]) if words[0] == b"HMSG" else 0
                return words[1].decode(), body[:headers], body[headers:]

    def publish(self, subject, payload, reply=""):
        head = f"PUB {subject} {reply} {len(payload)}\r\n".encode()
        self.socket.sendall(head + payload + b"\r\n")

    def request(self, subject, payload=b""):
        self.count += 1
        inbox = f"_INBOX.test.{self.count}"
        self.publish(subject, payload, inbox)
        while True:
            subject, headers, payload = self.message()
            if subject == inbox:
                return headers, payload

    def api(self, subject, **body):
        _, answer = self.request("$JS.API." + subject, json.dumps(body).encode() if body else b"")
        answer = json.loads(answer)
        assert "error" not in answer, (subject, answer)
        return answer


class Server:
    def __init__(self, work):
        self.port = free_port()
        self.work = work
        self.start()

    def start(self):
        log = open(f"{self.work}/nats.log", "ab")
        store = f"{self.work}/store"
        command = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", store]
        self.process = begin(command, log)
        until = time.monotonic() + 60
        while True:
            try:
                Client(self.port)
                return
            except (OSError, AssertionError):
                assert time.monotonic() < until, "nats-server does not start"
                time.sleep(0.05)

    def stop(self, how):
        self.process.send_signal(how)
        self.process.wait()


def tinyhost(server, rest, log, *options):
    url = f"nats://127.0.0.1:{server.port}/{rest}"
    command = [TINYHOST, "serve", "--workers", "1", "--from", url, *options]
    command += [GUEST]
    return begin(command, log)


def end(process):
    process.terminate()
    assert process.wait(30) == 0, process.returncode


def until(what, so, limit=60):
    end = time.monotonic() + limit
    while not so():
        assert time.monotonic() < end, f"timed out: {what}"
        time.sleep(0.05)


def requests(server, work):
    """Each request has its reply, from one of two processes, also while one is drained."""
    client = Client(server.port)
    with open(f"{work}/core.log", "wb") as log:
        both = [tinyhost(server, "up.>?queue=q", log) for _ in range(2)]
        until("a responder", lambda: b"503" not in client.request("up.x", b"a")[0])
        text = lambda: open(f"{work}/core.log").read()
        until("both", lambda: text().count("messages come") == 2)
        for number in range(2000):
            if number == 1000:
                end(both.pop())
            headers, reply = client.request("up.x", b"line %d" % number)
            assert (headers, reply) == (b"", b"LINE %d\n" % number), (headers, reply)
        end(both.pop())
    headers, _ = client.request("up.x", b"a")
    assert b"503" in headers, headers
    print("requests and a queue group: 2000 right replies, one of two processes drained half-way")


def stream(client, name, subject, **more):
    client.api(f"STREAM.CREATE.{name}", name=name, subjects=[subject], storage="file", num_replicas=1, **more)


def fill(client, count):
    batch = []
    for number in range(count):
        line = b"message %d" % number
        batch.append(b"PUB in.a %d\r\n%s\r\n" % (len(line), line))
        if len(batch) == 1000:
            client.socket.sendall(b"".join(batch))
            batch = []
            # The server stores them before it answers this.
            client.api("STREAM.INFO.IN")
    client.socket.sendall(b"".join(batch))
    until("all are stored", lambda: state(client, "IN")["messages"] == count)


def state(client, name):
    return client.api(f"STREAM.INFO.{name}")["state"]


def replies(client, count):
    """All that is stored, in any order."""
    client.socket.sendall(b"SUB replies 2\r\n")
    config = {"deliver_subject": "replies", "ack_policy": "none", "deliver_policy": "all"}
    client.api("CONSUMER.CREATE.OUT", stream_name="OUT", config=config)
    stored = []
    while len(stored) < count:
        subject, _, payload = client.message()
        if subject == "out.r":
            stored.append(payload)
    return stored


def killing(server, work):
    """Three processes, one killed each 200 ms, and the server restarted five times."""
    client = Client(server.port)
    hours = 3600 * 10**9
    stream(client, "IN", "in.>", retention="workqueue")
    stream(client, "OUT", "out.>", duplicate_window=4 * hours)
    stream(client, "DEAD", "DEAD.>")
    config = {"durable_name": "C", "ack_policy": "explicit", "ack_wait": 2 * 10**9, "max_deliver": -1}
    config["max_ack_pending"] = 20000
    client.api("CONSUMER.DURABLE.CREATE.IN.C", stream_name="IN", config=config)
    fill(client, MESSAGES)
    log = open(f"{work}/stream.log", "wb")
    start = lambda: tinyhost(server, "in.>?stream=IN&consumer=C&to=out.r&window=64", log)
    running = [start() for _ in range(PROCESSES)]
    began, killed, restarted = time.monotonic(), 0, 0
    while True:
        time.sleep(KILL_EVERY)
        assert time.monotonic() < began + LIMIT, f"{state(client, 'IN')['messages']} are left"
        victim = running.pop(0)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        running.append(start())
        killed += 1
        done = state(client, "OUT")["messages"]
        if restarted < RESTARTS and done > MESSAGES * (restarted + 1) / (RESTARTS + 1):
            # By turns it may finish what it does, or not.
            server.stop(signal.SIGTERM if restarted % 2 == 0 else signal.SIGKILL)
            server.start()
            client = Client(server.port)
            restarted += 1
        if restarted == RESTARTS and state(client, "IN")["messages"] == 0:
            break
    for process in running:
        end(process)
    took = time.monotonic() - began
    assert state(client, "DEAD")["messages"] == 0
    count = state(client, "OUT")["messages"]
    found = replies(client, count)
    wanted = {b"MESSAGE %d\n" % number for number in range(MESSAGES)}
    missing, odd = len(wanted - set(found)), len(set(found) - wanted)
    print(f"stream: {count} replies stored, {len(set(found))} distinct, {missing} missing, {odd} wrong; "
          f"{killed} processes killed, the server restarted {restarted} times, {took:.1f} s")
    assert (count, missing, odd) == (MESSAGES, 0, 0)


def main():
    work = tempfile.mkdtemp()
    server = Server(work)
    try:
        requests(server, work)
        killing(server, work)
    except BaseException:
        for name in os.listdir(work):
            if name.endswith(".log"):
                print(f"-- {name}\n" + open(f"{work}/{name}").read()[-2000:], file=sys.stderr)
        raise
    finally:
        for process in STARTED:
            process.kill()
            process.wait()
        shutil.rmtree(work)


main()
