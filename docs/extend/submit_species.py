"""Submit a count of the species of a dataset."""

from __future__ import annotations

from pathlib import Path

from jobflow import Flow
from species_jobs import add_up, count_species

from dismaiflow.launch.check import ready_to_submit
from dismaiflow.launch.config import load_config
from dismaiflow.launch.submit import submit
from dismaiflow.store.structures import put_structures
from dismaiflow.structures.dataset import open_dataset

config = load_config()
ready_to_submit(config)

# The structures go into the store first; jobs get a reference of a few lines.
dataset = open_dataset(Path("data/alloy-1500K-wide"))
reference = put_structures(config.jobstore(), dataset.read("train"))

counted = count_species(reference)
added = add_up(counted.output)
flow = Flow([counted, added], output=added.output, name="species")
# What runs are found by. dynamic: jobs that are made later get it too.
flow.update_metadata({"system": dataset.card.system, "model": "none"}, dynamic=True)

submitted = submit(flow, config.launchpad(), ["species"], config.jobstore())
print(submitted.run_id, submitted.n_fireworks, submitted.categories)
