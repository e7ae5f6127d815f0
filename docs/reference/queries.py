"""The example queries of the page "Schema of the store"."""

from dismaiflow.settings import load_settings
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.datasets import DatasetDoc
from dismaiflow.store.structures import get_structures

store = embedded_jobstore(load_settings().STORE_PATH)
store.connect()

print("scores on a system, best first")
query = {"output.kind": "score", "output.system": "alloy-1500K-wide"}
for doc in store.query(query, sort={"output.metrics.d_cluster.value": 1}):
    out = doc["output"]
    print(out["provenance"]["model"], out["protocol"]["alignment"], end=" ")
    print(f"{out['metrics']['d_cluster']['value']:.4f}", f"{out['n_scored']}/{out['n_generated']}")

print("how many of them are below 0.02")
print(store.count({**query, "output.metrics.d_cluster.value": {"$lt": 0.02}}))

print("datasets whose runs do not agree")
query = {"output.kind": "dataset", "output.card.statistics.sampling.agreement": {"$ne": "agree"}}
for doc in store.query(query, properties=["output.system", "output.card.seeds"]):
    print(doc["output"]["system"], doc["output"]["card"]["seeds"])

print("Monte Carlo runs at 300 K that needed a second test of equilibration")
query = {
    "output.kind": "alloy_run",
    "output.temperature": 300,
    "output.equilibration.passes": {"$gt": 2000},
}
every = {"output.kind": "alloy_run", "output.temperature": 300}
print(store.count(query), "of", store.count(every))

print("all jobs of the last score")
last = next(iter(store.query({"output.kind": "score"}, sort={"completed_at": -1}, limit=1)))
print(store.count({"metadata.run_id": last["metadata"]["run_id"]}))

print("the training set of a dataset, as ASE structures")
found = store.query_one({"output.kind": "dataset", "output.system": "alloy-1500K-wide"})
dataset = DatasetDoc.model_validate(found["output"])
train = get_structures(store, dataset.sets["train"])
print(len(train), train.atoms(0).get_chemical_formula())
