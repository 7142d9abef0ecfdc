"""What users of the PyPI package etcd3 do, against the members whose ports are the arguments.

Prints one line per thing done; an assertion is how it fails. `kill` asks the test to kill the first member.
"""

import os
import queue
import sys
import threading

import etcd3

ports = [int(port) for port in sys.argv[1:]]
client = etcd3.client(port=ports[0])

# Keys and values.
client.put("plain", "one")
assert client.get("plain")[0] == b"one"
value, metadata = client.get("plain")
assert metadata.key == b"plain" and metadata.version == 1
assert client.put_if_not_exists("plain", "two") is False
assert client.replace("plain", "one", "two") is True
for number in range(5):
    client.put(f"many/{number}", str(number))
assert [value for value, _ in client.get_prefix("many/")] == [b"0", b"1", b"2", b"3", b"4"]
assert client.delete("many/0") is True and client.delete("many/0") is False
assert client.delete_prefix("many/").deleted == 4
print("keys", flush=True)

# A transaction with both branches.
for expected in (True, False):
    succeeded, responses = client.transaction(
        compare=[client.transactions.version("txn") == 0],
        success=[client.transactions.put("txn", "made"), client.transactions.get("txn")],
        failure=[client.transactions.get("txn"), client.transactions.delete("txn")],
    )
    assert succeeded is expected, responses
assert client.get("txn")[0] is None
print("transaction", flush=True)

# A session: a key that lives as long as its lease.
lease = client.lease(2)
client.put("session", "alive", lease=lease)
assert lease.granted_ttl == 2 and lease.keys == [b"session"]
assert lease.refresh()[0].TTL == 2
gone = threading.Event()
watch = client.add_watch_callback("session", lambda response: gone.set())
assert gone.wait(30), "the key outlived its lease"
client.cancel_watch(watch)
assert client.get("session")[0] is None
print("session", flush=True)

# A lock that a second holder must wait for.
with client.lock("lock", ttl=20) as held:
    assert held.is_acquired()
    assert client.lock("lock", ttl=20).acquire(timeout=0.5) is False
assert client.lock("lock", ttl=20).acquire(timeout=10)
print("lock", flush=True)

# An election, as it is written with this package: whoever creates the key leads, by lease.
first, second = client.lease(60), client.lease(60)


def campaign(name, lease):
    return client.transaction(
        compare=[client.transactions.create("leader") == 0],
        success=[client.transactions.put("leader", name, lease=lease)],
        failure=[],
    )[0]


assert campaign("a", first) and not campaign("b", second)
first.revoke()
assert campaign("b", second) and client.get("leader")[0] == b"b"
print("election", flush=True)

# A watch that goes on at another member when its own is killed, from where it was.
others = etcd3.client(port=ports[1])
seen = queue.Queue()


def follow(client, revision):
    def told(response):
        if isinstance(response, Exception):
            seen.put(response)
            return
        for event in response.events:
            seen.put(event)

    client.add_watch_callback("watched", told, start_revision=revision)


start = others.put("watched", "0").header.revision
follow(client, start)
revision, values, ended = start, [], False
others.put("watched", "1")
while len(values) < 2:
    event = seen.get(timeout=30)
    values.append(event.value)
    revision = event.mod_revision
print("kill", flush=True)
sys.stdin.readline()
while not isinstance(seen.get(timeout=60), Exception):
    pass


def put(value):
    """Puts, again where the cluster was still looking for a leader."""
    for _ in range(30):
        try:
            return others.put("watched", value)
        except etcd3.exceptions.Etcd3Exception:
            continue
    raise AssertionError("no put went through")


for number in range(2, 6):
    put(str(number))
follow(others, revision + 1)
while values[-1] != b"5":
    values.append(seen.get(timeout=30).value)
assert list(dict.fromkeys(values)) == [str(number).encode() for number in range(6)], values
print("watch", flush=True)
# Open watches have threads that nobody joins.
os._exit(0)
