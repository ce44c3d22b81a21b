"""The file store where things go wrong on a host: frozen and killed writers, damage, a directory that goes away."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from controller.contracts.watch import watching
from controller.stores.base import Conflict, Entry, StoreError, Version
from controller.stores.file import FileStore
from controller.stores.inotify import DirectoryWatch
from controller.stores.snapshots import KEEP, Snapshots
from tests.lab.stores.backends import Backend, eventually, racing
from tests.lab.stores.racer import COUNTER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

KEY = "groups/web"


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[Backend]:
    backend = Backend("file", {"path": str(tmp_path)})
    yield backend
    await backend.close()


def directory(place: Backend, cluster: str = "shop") -> Path:
    return Path(place.options["path"]) / f"{cluster}.store"


def numbers(place: Backend, cluster: str = "shop") -> list[int]:
    return sorted(int(path.name) for path in directory(place, cluster).iterdir() if path.name.isdecimal())


@contextmanager
def lock_held_in(path: Path) -> Iterator[None]:
    path.mkdir(exist_ok=True)
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


async def test_a_lock_that_is_never_given_back_stops_nobody(place: Backend) -> None:
    store = place.open()
    version = await store.swap(KEY, b"one", None)
    with lock_held_in(directory(place)):
        version = await store.swap(KEY, b"two", version)
        assert await store.read("") == {KEY: Entry(b"two", version)}


async def test_a_frozen_process_stops_nobody_and_wins_nothing_twice(place: Backend) -> None:
    chance = random.Random(3)
    with racing(place, 4, 150) as racers:
        racers.go()
        store = place.open("race")
        await eventually(lambda: store.read(COUNTER))
        for _ in range(10):
            victim = chance.choice(racers.processes)
            os.kill(victim.pid, signal.SIGSTOP)
            await asyncio.sleep(chance.random() * 0.2)
            version = await store.swap(f"groups/beside{time.monotonic_ns()}", b"", None)
            assert version
            os.kill(victim.pid, signal.SIGCONT)
        scores = racers.scores()
    created = [number for score in scores for number in score.created]
    counted = [number for score in scores for number in score.counted]
    unsure = sum(score.unsure for score in scores)
    assert len(set(created)) == len(created)
    assert len(set(counted)) == len(counted)
    final = int((await store.read(COUNTER))[COUNTER].value)
    assert len(counted) <= final <= len(counted) + unsure


async def test_a_killed_process_leaves_the_store_as_it_was(place: Backend) -> None:
    store = place.open("race")
    with racing(place, 2, 10_000) as racers:
        racers.go()
        await eventually(lambda: store.read(COUNTER))
        for racer in racers.processes:
            os.kill(racer.pid, signal.SIGKILL)
            racer.wait()
    counter = (await store.read(COUNTER))[COUNTER]
    await store.swap(COUNTER, b"0", counter.version)
    assert (await store.read(COUNTER))[COUNTER].value == b"0"


def write(snapshots: Snapshots, key: str, value: bytes) -> Version:
    following, version = snapshots.latest().after(key, value)
    snapshots.append(following)
    return version


def test_a_writer_thawed_after_many_writes_of_others_is_told_that_it_cannot_know(tmp_path: Path) -> None:
    frozen, other = Snapshots(tmp_path), Snapshots(tmp_path)
    frozen.prepare()
    write(frozen, KEY, b"before")
    late, _ = frozen.latest().after(KEY, b"late")  # here it freezes
    for number in range(2 * KEEP):
        write(other, KEY, str(number).encode())
    with pytest.raises(StoreError, match="outcome is unknown"):
        frozen.append(late)
    assert frozen.latest().entries == other.latest().entries
    assert frozen.latest().entries[KEY].value == str(2 * KEEP - 1).encode()
    write(other, KEY, b"next")
    assert frozen.latest().entries[KEY].value == b"next"


def test_a_writer_thawed_after_few_writes_of_others_writes_nothing(tmp_path: Path) -> None:
    frozen, other = Snapshots(tmp_path), Snapshots(tmp_path)
    frozen.prepare()
    write(frozen, KEY, b"before")
    late, _ = frozen.latest().after(KEY, b"late")
    for number in range(KEEP - 1):
        write(other, KEY, str(number).encode())
    with pytest.raises(FileExistsError):
        frozen.append(late)


async def test_old_snapshots_and_drafts_are_swept(place: Backend) -> None:
    store = place.open()
    version = await store.swap(KEY, b"", None)
    drafts = directory(place) / "drafts"
    old, young = drafts / "1-old", drafts / "2-young"
    for draft in (old, young):
        draft.write_bytes(b"left behind by a killed writer")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    for _ in range(2 * KEEP):
        version = await store.swap(KEY, b"", version)
    assert len(numbers(place)) == KEEP
    assert [path.name for path in drafts.iterdir()] == ["2-young"]


async def test_the_present_survives_a_new_process(place: Backend) -> None:
    version = await place.open().swap(KEY, b"one", None)
    assert await place.open().read("") == {KEY: Entry(b"one", version)}


async def test_versions_do_not_come_back_when_the_directory_is_emptied(place: Backend) -> None:
    store = place.open()
    before = await store.swap(KEY, b"one", None)
    for path in directory(place).iterdir():
        if path.is_file():
            path.unlink()
    assert await store.read("") == {}
    after = await store.swap(KEY, b"one", None)
    assert after != before
    with pytest.raises(Conflict):
        await store.swap(KEY, b"two", before)
    assert await store.read("") == {KEY: Entry(b"one", after)}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (b"", "not a snapshot"),
        (b"\x00\xff\n", "not a snapshot"),
        (b'{"lineage":"x"}\n', "'keys'"),
        (b"[]\n", "not a snapshot"),
        (b'{"lineage":"x","keys":[["a","b"]]}\n', "not a snapshot"),
        (b'{"lineage":"x","keys":[["a","b",4]]}\nab\n', "holds 3 bytes of values instead of 5"),
    ],
)
async def test_a_damaged_snapshot_is_named_and_nothing_is_written_over_it(
    place: Backend,
    damage: bytes,
    says: str,
) -> None:
    store = place.open()
    version = await store.swap(KEY, b"one", None)
    damaged = directory(place) / f"{2:012d}"
    damaged.write_bytes(damage)
    for call in (lambda: store.read(""), lambda: store.swap(KEY, b"two", version)):
        with pytest.raises(StoreError, match=says) as error:
            await call()
        assert str(damaged) in str(error.value)
        assert "stop all daemons" in str(error.value)
        assert "\n" not in str(error.value)
    assert damaged.read_bytes() == damage


async def test_a_directory_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    backend = Backend("file", {"path": str(tmp_path / "file" / "store")})
    store = backend.open()
    for call in (lambda: store.read(""), lambda: store.swap(KEY, b"", None)):
        with pytest.raises(StoreError, match="Not a directory"):
            await call()
    await backend.close()


async def test_a_disk_that_does_not_answer_costs_no_more_than_the_deadline(place: Backend) -> None:
    store = place.open(call_timeout=0.3)
    await place.open().swap(KEY, b"one", None)
    stuck = directory(place) / f"{2:012d}"
    os.mkfifo(stuck)  # opening it blocks, as a dead disk does
    for call in (lambda: store.read(""), lambda: store.swap("groups/late", b"", None)):
        with pytest.raises(StoreError, match=r"no answer within 0\.3 s"):
            await call()
    stuck.rename(directory(place) / "aside")
    (directory(place) / "aside").open("wb").close()  # now it answers
    found = await eventually(lambda: store.read(""), StoreError)
    assert set(found) == {KEY}, "the swap that had timed out before it began has written"


async def test_a_swap_whose_deadline_has_passed_writes_nothing(place: Backend) -> None:
    store = place.open(call_timeout=0.3)
    await place.open().swap(KEY, b"one", None)
    (present,) = (path for path in directory(place).iterdir() if path.name.isdecimal())
    stuck = directory(place) / f"{2:012d}"
    os.mkfifo(stuck)
    with pytest.raises(StoreError, match=r"no answer within 0\.3 s"):
        await store.swap("groups/late", b"", None)
    (directory(place) / "aside").hardlink_to(stuck)
    stuck.unlink()
    (directory(place) / "aside").write_bytes(present.read_bytes())  # now the disk answers
    assert set(await eventually(lambda: store.read(""), StoreError)) == {KEY}
    assert numbers(place) == [1]


async def test_writers_who_do_not_wait_for_the_lock_all_get_their_turn(place: Backend) -> None:
    stores = [place.open() for _ in range(6)]
    await stores[0].read("")
    with lock_held_in(directory(place)):
        await asyncio.gather(*(store.swap(f"groups/{n}", b"", None) for n, store in enumerate(stores)))
    assert set(await stores[0].read("")) == {f"groups/{n}" for n in range(6)}


async def test_a_closed_store_says_so(place: Backend) -> None:
    store = place.open()
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.read("")


async def test_a_watch_survives_a_directory_that_is_removed(place: Backend) -> None:
    store, other = place.open(), place.open()
    async with watching(store) as hints:
        await hints.next()
        await other.swap(KEY, b"one", None)
        await hints.next()
        directory(place).rename(directory(place).with_name("moved"))
        await hints.next()
        assert await store.read("") == {}
        await other.swap(KEY, b"two", None)
        await hints.next()


async def test_a_watch_goes_on_when_the_store_can_be_read_again(place: Backend) -> None:
    store = place.open()
    await store.swap(KEY, b"one", None)
    damaged = directory(place) / f"{2:012d}"
    damaged.write_bytes(b"")
    async with watching(store) as hints:
        await asyncio.sleep(0.1)
        assert not hints.waiting
        damaged.unlink()
        await hints.next()


async def test_inotify_says_why_it_cannot_watch(tmp_path: Path) -> None:
    async with DirectoryWatch(tmp_path / "missing") as watch:
        with pytest.raises(OSError, match="inotify: No such file"):
            watch.arm()


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(ValueError, match="must be an absolute path"):
        FileStore.Options(path=Path("store"))
