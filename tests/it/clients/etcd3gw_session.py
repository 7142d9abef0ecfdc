"""What users of the PyPI package etcd3gw do, which speaks JSON, against the members whose ports are the arguments.

Prints one line per thing done; an assertion is how it fails. `kill` asks the test to kill the first member.
"""

import base64
import os
import queue
import sys
import threading
import time

import etcd3gw
from etcd3gw.lock import Lock

ports = [int(port) for port in sys.argv[1:]]
client = etcd3gw.client(host="127.0.0.1", port=ports[0], api_path="/v3/")


def encoded(text):
    return base64.b64encode(text.encode()).decode()


# Keys and values.
assert client.status()["version"].startswith("3.")
assert len(client.members()) == len(ports)
assert client.put("plain", "one") is True
assert client.get("plain") == [b"one"]
value, metadata = client.get("plain", metadata=True)[0]
assert value == b"one" and int(metadata["version"]) == 1
for number in range(5):
    client.put(f"many/{number}", str(number))
assert [value for value, _ in client.get_prefix("many/")] == [b"0", b"1", b"2", b"3", b"4"]
assert client.create("plain", "two") is False and client.replace("plain", "one", "two") is True
assert client.delete("many/0") is True and client.delete("many/0") is False
assert client.delete_prefix("many/") is True
print("keys", flush=True)

# A transaction with both branches.
transaction = {
    "compare": [
        {"key": encoded("txn"), "result": "EQUAL", "target": "VERSION", "version": 0},
    ],
    "success": [{"request_put": {"key": encoded("txn"), "value": encoded("made")}}],
    "failure": [{"request_delete_range": {"key": encoded("txn")}}],
}
assert client.transaction(transaction)["succeeded"] is True
assert "succeeded" not in client.transaction(transaction)
assert client.get("txn") == []
print("transaction", flush=True)

# A session: a key that lives as long as its lease.
lease = client.lease(ttl=2)
client.put("session", "alive", lease=lease)
assert lease.keys() == [b"session"] and lease.ttl() <= 2
assert lease.refresh() == 2
gone = time.monotonic() + 30
while client.get("session"):
    assert time.monotonic() < gone, "the key outlived its lease"
print("session", flush=True)

# A lock that a second holder must wait for.
with Lock("lock", ttl=20, client=client) as held:
    assert held.is_acquired()
    assert Lock("lock", ttl=20, client=client).acquire() is False
assert Lock("lock", ttl=20, client=client).acquire() is True
print("lock", flush=True)

# An election through the service of the server.
first, second = client.lease(ttl=60), client.lease(ttl=60)


def election(call, **request):
    return client.post(client.get_url("/election/" + call), json=request)


name = encoded("president")
won = election("campaign", name=name, lease=first.id, value=encoded("a"))
assert won["leader"]["name"] == name
election("proclaim", leader=won["leader"], value=encoded("A"))
assert election("leader", name=name)["kv"]["value"] == encoded("A")
election("resign", leader=won["leader"])
election("campaign", name=name, lease=second.id, value=encoded("b"))
assert election("leader", name=name)["kv"]["value"] == encoded("b")
print("election", flush=True)

# A watch that goes on at another member when its own is killed, from where it was.
others = etcd3gw.client(host="127.0.0.1", port=ports[1], api_path="/v3/", timeout=20)
seen = queue.Queue()


def follow(client, revision):
    def run():
        try:
            events, _ = client.watch("watched", start_revision=revision)
            for event in events:
                seen.put(event)
        except Exception as error:  # whatever the transport says: the member is gone
            seen.put(error)

    threading.Thread(target=run, daemon=True).start()


start = int(client.status()["header"]["revision"])
others.put("watched", "0")
follow(client, start)
revision, values = start, []
others.put("watched", "1")
while len(values) < 2:
    event = seen.get(timeout=30)
    values.append(event["kv"]["value"])
    revision = int(event["kv"]["mod_revision"])
print("kill", flush=True)
sys.stdin.readline()


def put(value):
    """Puts, again where the cluster was still looking for a leader."""
    for _ in range(30):
        try:
            return others.put("watched", value)
        except etcd3gw.exceptions.Etcd3Exception:
            continue
    raise AssertionError("no put went through")


for number in range(2, 6):
    put(str(number))
follow(others, revision + 1)
while values[-1] != b"5":
    event = seen.get(timeout=30)
    if not isinstance(event, Exception):
        values.append(event["kv"]["value"])
assert list(dict.fromkeys(values)) == [str(number).encode() for number in range(6)], values
print("watch", flush=True)
# Open watches have threads that nobody joins.
os._exit(0)
