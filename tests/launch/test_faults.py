"""A campaign of four datasets under at least fifty faults ends as the undisturbed local run."""

from __future__ import annotations

import json
import os
import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jobflow import JobStore, run_locally

from cli.conftest import Dismai
from dismaiflow.campaigns.alloy import AlloyBenchmarkMaker
from dismaiflow.launch.config import LaunchConfig
from dismaiflow.launch.recovery import retry
from dismaiflow.launch.runs import load_run
from dismaiflow.launch.server import PrivateServer, find_mongod
from dismaiflow.launch.submit import submit
from dismaiflow.store.embedded import embedded_jobstore
from dismaiflow.store.structures import StructuresRef, get_structures
from dismaiflow.systems import get_system
from small_disk import mounted

from .faults import Trouble, Worker, patiently
from .test_recovery import check_whole
from .test_submit import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobflow import Flow

ALLOYS = ("alloy-300K-narrow", "alloy-300K-wide", "alloy-1500K-narrow", "alloy-1500K-wide")

#: How many faults there must be. More can be asked for.
FAULTS = int(os.environ.get("DISMAIFLOW_TEST_FAULTS", "50"))

#: Seed of the faults.
SEED = int(os.environ.get("DISMAIFLOW_TEST_SEED", "20241122"))

#: Seconds without a ping after which the workers of this test, which ping every second, are lost.
LOST_AFTER = 8.0


def campaign() -> Flow:
    """Return the four datasets with their controls, in many small jobs."""
    maker = AlloyBenchmarkMaker()
    maker.dataset_maker.n_passes = 4000
    maker.dataset_maker.n_runs = 4
    maker.controls_maker.n = 60
    maker.controls_maker.count_maker.structures_per_job = 50
    maker.controls_maker.sample_maker.chunk_size = 25
    return maker.make([get_system(name) for name in ALLOYS], seed=7, n_structures=100)


def results(store: JobStore, run_id: str) -> dict[str, Any]:
    """Return everything that a campaign has found out, without times."""
    query = {"metadata.run_id": run_id}
    found: dict[str, Any] = {"names": sorted(d["name"] for d in store.docs_store.query(query))}
    for document in store.query(query | {"output.kind": {"$in": ["dataset", "controls"]}}):
        output = document["output"]
        key = f"{output['kind']} {output['system']} {output.get('protocol', {}).get('name', '')}"
        assert key not in found, "a document is there twice"
        output.get("card", {}).pop("created", None)
        found[key] = json.loads(json.dumps(output, sort_keys=True))
        for name, given in output.get("sets", {}).items():
            structures = get_structures(store, StructuresRef.model_validate(given))
            assert structures.content_hash == output["card"]["content_hashes"][name]
    assert len(found) == 1 + len(ALLOYS) * 3
    return found


@pytest.fixture
def undisturbed(tmp_path: Path) -> dict[str, Any]:
    """Return the results of the campaign as it runs here, without a LaunchPad."""
    store = embedded_jobstore(tmp_path / "local.db")
    store.connect()
    flow = campaign()
    flow.update_metadata({"run_id": "local"}, dynamic=True)
    run_locally(flow, store=store, root_dir=tmp_path / "jobs", log=False, ensure_success=True)
    return results(store, "local")


@pytest.fixture
def trouble(tmp_path: Path) -> Iterator[Trouble]:
    """Return a server of its own and four workers, each on a small disk."""
    if find_mongod() is None:
        pytest.skip("no mongod")
    dismai = Dismai(tmp_path)
    server = PrivateServer(dismai.home / ".dismai" / "mongod")
    assert dismai("launchpad", "up").code == 0
    assert dismai("launchpad", "init").code == 0
    config = LaunchConfig(dismai.home / ".dismai" / "launchpad")
    settings = config.folder / "FW_config.yaml"
    content = yaml.safe_load(settings.read_text())
    content |= {"PING_TIME_SECS": 1, "RAPIDFIRE_SLEEP_SECS": 1}
    settings.write_text(yaml.safe_dump(content))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DISMAI_", "FW_"))}
    environment |= {"HOME": str(dismai.home)}
    with ExitStack() as stack:
        workers = [
            Worker(
                f"w{i}",
                config,
                stack.enter_context(mounted(tmp_path / f"disk{i}", "1m,nr_inodes=1000")),
                environment,
            )
            for i in range(4)
        ]
        yield Trouble(server, config, workers, random.Random(SEED))
        for worker in workers:
            worker.kill()
        server.stop()


def _finished(config: LaunchConfig, run_id: str) -> bool:
    run = load_run(config.launchpad(), run_id)
    return set(run.workflow["fw_states"].values()) == {"COMPLETED"} and "locked" not in run.workflow


def _retry(config: LaunchConfig, run_id: str) -> None:
    store = config.jobstore()
    try:
        retry(config.launchpad(), run_id, LOST_AFTER, store, lock_patience=5)
    finally:
        store.close()


def _run_campaign(trouble: Trouble) -> str:
    """Submit a campaign and disturb it until it is done; return its run id."""
    config = trouble.config
    run_id = submit(campaign(), config.launchpad()).run_id
    for worker in trouble.workers:
        worker.start()
    deadline = time.monotonic() + 1200
    last_retry = time.monotonic()
    while not patiently(_finished, config, run_id):
        assert time.monotonic() < deadline, patiently(_states, config, run_id)
        if trouble.total < FAULTS:
            patiently(trouble.strike)
        else:
            time.sleep(0.5)
        for worker in trouble.workers:
            worker.start()
        if time.monotonic() - last_retry > 6:
            patiently(_retry, config, run_id)
            last_retry = time.monotonic()
    return run_id


def _states(config: LaunchConfig, run_id: str) -> dict[str, Any]:
    run = load_run(config.launchpad(), run_id)
    return {f"{n} {run.fireworks[n]['name']}": run.state(n) for n in run.nodes}


@pytest.mark.slow
def test_a_campaign_under_faults(
    undisturbed: dict[str, Any], trouble: Trouble, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exactly the same results, each structure and each document once, nothing left half done."""
    campaigns = 0
    while trouble.total < FAULTS or campaigns == 0:
        run_id = _run_campaign(trouble)
        campaigns += 1
        store = trouble.config.jobstore()
        found = results(store, run_id)
        assert found["names"] == undisturbed["names"]
        assert found == undisturbed
        check_whole(Bench(trouble.config.launchpad(), store, Path()), run_id)
        store.close()
    with capsys.disabled():
        print(f"\n{campaigns} campaigns, {trouble.total} faults: {dict(trouble.counts)}")
