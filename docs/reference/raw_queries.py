"""Example questions to the MongoDB server itself: python raw_queries.py mongodb://..."""

import sys

from pymongo import MongoClient

database = MongoClient(sys.argv[1]).get_default_database()

print("scores below 0.1 on a system, best first")
wanted = {"system": "alloy-300K-wide", "metrics.d_cluster": {"$lt": 0.1}, "state": "successful"}
for row in database.scores.find(wanted).sort("metrics.d_cluster"):
    print(row["model"], row["protocol"], f"{row['metrics']['d_cluster']:.4f}", row["date"])

print("the best score of each model by protocol")
pipeline = [
    {"$match": {"state": "successful", "metrics.d_cluster": {"$ne": None}}},
    {"$sort": {"metrics.d_cluster": 1}},
    {
        "$group": {
            "_id": {"system": "$system", "model": "$model", "protocol": "$protocol"},
            "best": {"$first": "$metrics.d_cluster"},
            "uuid": {"$first": "$uuid"},
            "n": {"$sum": 1},
        }
    },
    {"$sort": {"best": 1}},
]
for found in database.scores.aggregate(pipeline):
    print(*found["_id"].values(), f"{found['best']:.4f}", "of", found["n"])

print("how many documents of each kind a run has left")
newest = database.runs.find_one(sort=[("last", -1)])
print(newest["run_id"], newest["systems"], newest["kinds"], "of", newest["n_documents"])

print("what the data store holds, by kind")
pipeline = [
    {"$group": {"_id": "$metadata.kind", "n": {"$sum": 1}, "bytes": {"$sum": "$length"}}},
    {"$sort": {"_id": 1}},
]
for found in database["outputs_blobs.files"].aggregate(pipeline):
    print(found["_id"], found["n"], found["bytes"])

print("is the generated set of the best score there?")
best = database.scores.find_one(wanted, sort=[("metrics.d_cluster", 1)])
name = {"metadata.blob_uuid": {"$regex": f"^set-{best['generated_hashes'][0]}"}}
print("yes" if database["outputs_blobs.files"].find_one(name) else "no")
