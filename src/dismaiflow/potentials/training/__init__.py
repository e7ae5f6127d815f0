"""Training of graph networks on labelled frames: from scratch, fine-tuned, swept, in committees."""
