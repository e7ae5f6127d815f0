"""Train the example model and write 1,000 structures."""

from pathlib import Path

from dismaiflow.models.registry import get_model
from dismaiflow.structures.dataset import extxyz_text, open_dataset

train = open_dataset(Path("data/alloy-300K-wide")).read("train")
model = get_model("sublattice_model:SublatticeModel")
model.fit(train, seed=0)
Path("sublattice.extxyz").write_text(extxyz_text(model.sample(1000, seed=1)))
