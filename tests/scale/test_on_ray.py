"""The same jobs on a real Ray cluster of two nodes: the same bytes, whatever dies."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from statim.errors import DataError, InputError
from statim.scale import encode_shards
from statim.scale.output import MANIFEST
from statim.scale.runners import runner

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("ray")]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.usefixtures("cluster")
def test_the_same_bytes_as_in_one_process(tmp_path, model, shards):
    here = encode_shards(model, shards, tmp_path / "here")
    there = encode_shards(model, shards, tmp_path / "there", ray="auto")
    assert (there.texts, there.shards) == (here.texts, here.shards) == (400, 4)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    (shards / "b.jsonl").write_text("no")
    with pytest.raises(DataError, match=r"1 of 1 shards could not be encoded.*b\.jsonl, line 1"):
        encode_shards(model, shards, tmp_path / "there", ray="auto", resume=True)


@pytest.mark.usefixtures("cluster")
def test_a_process_that_dies_is_replaced(tmp_path, model):
    folder = str(tmp_path)

    def dies_once(name, own, threads):
        mark = f"{folder}/{name}"
        if not os.path.exists(mark):
            open(mark, "w").close()
            os.kill(os.getpid(), 9)
        return name, own.hash, threads

    names = [f"item{i}" for i in range(3)]
    with runner("auto", model, None) as run:
        assert dict(run(dies_once, names)) == {name: (name, model.hash, 1) for name in names}


@pytest.mark.usefixtures("cluster")
def test_an_error_is_the_jobs_own(model):
    def fails(name, own, threads):
        raise InputError(f"{name} is wrong")

    with runner("auto", model, None) as run, pytest.raises(InputError, match="one is wrong"):
        list(run(fails, ["one"]))


def test_addresses_without_a_cluster(tmp_path, model, shards):
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(InputError, match=rf"no Ray cluster answers at '{address}'.*give local, auto"):
            encode_shards(model, shards, tmp_path / "out", ray=address)
    for address in ("somewhere", "http://127.0.0.1:1", "ray://", "a:b"):
        with pytest.raises(InputError, match="is no address of a Ray cluster"):
            encode_shards(model, shards, tmp_path / "out", ray=address)


COMMAND = [sys.executable, "-m", "statim", "encode"]


@pytest.mark.long
def test_a_cluster_of_its_own(tmp_path, model, shards):
    """As a person does: a command starts a cluster and ends it, or finds one by its address."""
    model.save(tmp_path / "model")
    encode_shards(model, shards, tmp_path / "here")
    given = [tmp_path / "model", shards, "--out", tmp_path / "out", "--ray", "local"]
    done = subprocess.run([*COMMAND, *map(str, given)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "400 texts of 4 shards" in done.stdout
    assert contents(tmp_path / "here") == contents(tmp_path / "out")


@pytest.mark.long
def test_a_cluster_by_its_address(tmp_path, model, shards, cluster):
    model.save(tmp_path / "model")
    encode_shards(model, shards, tmp_path / "here")
    given = [tmp_path / "model", shards, "--out", tmp_path / "out", "--ray", cluster.address]
    done = subprocess.run([*COMMAND, *map(str, given)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "here") == contents(tmp_path / "out")


def many(folder, rows, shards=20, times=40):
    folder.mkdir()
    for shard in range(shards):
        text = "".join(f"{shard} {i} {row['text']}\n" for i in range(times) for row in rows)
        (folder / f"{shard:02}.txt").write_text(text)
    return folder


def workers():
    """The processes below this one that do jobs or wait for some."""
    found, parents = [], {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if (path / "cmdline").read_bytes().startswith((b"ray::_do", b"ray::IDLE")):
                found.append(int(path.name))
        except OSError:
            continue  # it has just ended
    return [pid for pid in found if is_below(pid, parents)]


def is_below(pid, parents):
    while pid in parents and pid != os.getpid():
        pid = parents[pid]
    return pid == os.getpid()


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("cluster")
def test_fifty_processes_killed(tmp_path, model, rows):
    """Whatever is killed at whatever moment, nothing is lost, nothing is there twice."""
    import random

    folder, chance, killed = many(tmp_path / "in", rows), random.Random(5), []
    encode_shards(model, folder, tmp_path / "here")
    stop = threading.Event()

    def kill():
        """One process soon after each file that is written, so that there always is another file."""
        seen = 0
        while not stop.wait(0.02):
            written = len(list(tmp_path.glob("there*/*.parquet")))
            if written > seen and not stop.wait(chance.uniform(0, 0.3)) and (there := workers()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim := chance.choice(there), signal.SIGKILL)
                    killed.append(victim)
            seen = written

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        rounds = 0
        while len(killed) < 50:
            out = tmp_path / f"there{rounds}"
            encode_shards(model, folder, out, ray="auto")
            assert contents(out) == contents(tmp_path / "here")
            rounds += 1
    finally:
        stop.set()
        thread.join()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_driver_is_killed(tmp_path, model, rows):
    """What was written is there, and the rest is done by the next run."""
    folder = many(tmp_path / "in", rows)
    model.save(tmp_path / "model")
    encode_shards(model, folder, tmp_path / "here")
    out = tmp_path / "out"
    command = [*COMMAND, *map(str, [tmp_path / "model", folder, "--out", out, "--ray", "local"])]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(out.glob("*.parquet")):
        assert driver.poll() is None
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    assert not (out / MANIFEST).exists()
    done = encode_shards(model, folder, out, resume=True)
    assert done.resumed > 0
    assert contents(out) == contents(tmp_path / "here")
