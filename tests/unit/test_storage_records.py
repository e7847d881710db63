"""Types of records that several threads decode at once, for the first time."""

from __future__ import annotations

import subprocess
import sys

import msgspec

from storage.records import know_all

# Each type has one inside, whose fields msgspec looks at while the type says that it is known.
_THREADS = """
from __future__ import annotations
import sys, threading
from collections.abc import Mapping
import msgspec
from storage.records import know_all

NUMBER = 200
for number in range(NUMBER):
    exec(f'''
class Inner{number}(msgspec.Struct):
    counts: Mapping[str, int] = {{}}
    names: list[str] | None = None

class Outer{number}(msgspec.Struct):
    inner: Inner{number}
    name: str = ""
''')
know_all()
sys.setswitchinterval(1e-6)
together = threading.Barrier(4)

def decode():
    for number in range(NUMBER):
        together.wait()
        kind = globals()[f"Outer{number}"]
        msgspec.json.decode(b'{"name": "a", "inner": {"counts": {"b": 1}, "names": ["c"]}}', type=kind)

threads = [threading.Thread(target=decode) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("decoded")
"""


def test_threads_may_decode_a_type_at_once_that_nobody_decoded_before() -> None:
    done = subprocess.run([sys.executable, "-c", _THREADS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "decoded\n"), done.stderr


def test_each_type_is_looked_at_once() -> None:
    know_all()

    class Later(msgspec.Struct):
        name: str

    class Latest(Later):
        # Nothing decodes it: msgspec makes none of two kinds that it does not know.
        what: slice | range

    assert know_all() == 2
    assert know_all() == 0
    assert msgspec.json.decode(b'{"name": "a"}', type=Later) == Later("a")
