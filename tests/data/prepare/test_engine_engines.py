import hashlib
import importlib.util
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests_support import tone_person

from voiceface.data.prepare.engine.build import CorpusOptions, Engine, build
from voiceface.data.prepare.engine.executors import run_local
from voiceface.utils.errors import UserError
from voiceface.utils.progress import pace

JOBS = [(i, ("train", 1 + i % 3, 1 + i % 2)) for i in range(10)]


def slow_person(job: tuple[int, Any]):
    time.sleep(0.3)
    return tone_person(job)


def die_of_memory(job: int) -> int:
    if job == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def first_waits_for_last(job: Path) -> str:
    if job.name == "0":
        end = time.monotonic() + 60
        while not job.with_name("29").exists() and time.monotonic() < end:
            time.sleep(0.01)
        return f"0 after 29: {job.with_name('29').exists()}"
    job.touch()
    return job.name


def whose_thread(job: int) -> tuple[int, str | None]:
    return job, os.environ.get("OMP_NUM_THREADS")


def content(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()
    }


def make_all(out: Path, make: Any = tone_person, **more: Any) -> None:
    build(out, JOBS, make, {}, CorpusOptions("a", max_voices=2, shard_bytes=60_000), {"command": "x"}, **more)


def test_a_slow_job_does_not_hold_up_the_others(tmp_path: Path):
    finished = list(run_local(first_waits_for_last, [tmp_path / str(i) for i in range(30)], 2))
    assert sorted(finished) == sorted(["0 after 29: True", *map(str, range(1, 30))])


def test_a_killed_worker_is_one_line():
    with pytest.raises(UserError, match=r"--workers 2: a worker was killed, most often because memory ran out"):
        list(run_local(die_of_memory, range(20), 2))


def test_a_worker_is_one_thread():
    assert dict(run_local(whose_thread, range(8), 2)) == dict.fromkeys(range(8), os.environ.get("OMP_NUM_THREADS", "1"))


def test_two_workers_give_the_same_bytes_as_one(tmp_path: Path):
    make_all(tmp_path / "one", workers=1)
    make_all(tmp_path / "two", workers=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_line_at_most_every_so_often_where_there_is_no_terminal(capsys):
    with pace("preparing people", 1_000, "clips", 100, every=0.0) as advance:
        advance(400, "2 of 3 people")
    line = capsys.readouterr().err
    assert line.startswith("preparing people: 500 of 1,000 clips, 2 of 3 people, ")
    assert line.endswith("left\n")
    with pace("preparing people", 1_000, "clips") as advance:
        advance(400)
    assert capsys.readouterr().err == ""


def test_without_a_cluster_ray_is_refused_in_one_line(tmp_path: Path):
    if importlib.util.find_spec("ray") is None:
        expected = r"needs the extra `ray`"
    else:
        expected = r"--address 127\.0\.0\.1:1: no Ray cluster can be reached"
    with pytest.raises(UserError, match=expected) as refused:
        make_all(tmp_path / "out", engine=Engine("ray", "127.0.0.1:1"))
    assert len(str(refused.value).splitlines()) == 1


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of two nodes of one core, each a process tree of its own on this machine."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "support"), prepend=os.pathsep)
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    nodes = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    nodes.add_node(**small)
    try:
        yield nodes
    finally:
        nodes.shutdown()


@pytest.mark.slow(reason="a Ray cluster starts, loses a node and gains one; two workers are the quick form")
def test_a_ray_cluster_whose_nodes_die_and_join_gives_the_same_bytes(tmp_path: Path, cluster: Any):
    make_all(tmp_path / "local", workers=1)
    out = tmp_path / "ray"
    failed: list[BaseException] = []

    def on_the_cluster() -> None:
        try:
            make_all(out, slow_person, engine=Engine("ray", cluster.address))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=on_the_cluster)
    thread.start()
    while thread.is_alive() and len(list((tmp_path / "ray.partial").glob("people/???????.json"))) < 2:
        time.sleep(0.02)
    assert thread.is_alive(), failed
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    # Ray notices a dead node late on a busy machine; the limit only ends a run that hangs.
    thread.join(600)
    assert not thread.is_alive()
    assert not failed
    assert content(out) == content(tmp_path / "local")
