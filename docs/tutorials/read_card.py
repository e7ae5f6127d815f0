"""Print what the cards of two datasets say of their structures."""

from pathlib import Path

from dismaiflow.structures.dataset import open_dataset

for name in ("alloy-300K-wide", "alloy-1500K-wide"):
    card = open_dataset(Path("data") / name).card
    sampling = card.statistics["sampling"]
    print(name, card.counts, card.seeds, "warnings:", card.warnings)
    print("  runs", sampling["agreement"], "- worth", round(sampling["n_effective"]), "samples")
    for parameter in ("1NN_Cr-Cr", "2NN_Cr-Cr", "1NN_Cr-Ni"):
        found = card.statistics["warren_cowley"][parameter]
        print(f"  {parameter}: {found['mean']:6.3f}, standard deviation {found['std']:.3f}")
