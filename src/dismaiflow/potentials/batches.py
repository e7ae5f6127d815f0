"""Batches of structures that fit into the memory of a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dismaiflow.potentials.base import Evaluation

_Graph = TypeVar("_Graph")


class Batches(Generic[_Graph]):
    """Computes graphs in batches of limited size.

    A batch for which the memory does not suffice is halved, and later ones are no larger.

    Parameters
    ----------
    compute : callable
        Turns graphs into their evaluations.
    size_of : callable
        Number of edges of a graph, on which its memory depends.
    most_edges : int
        Edges of a batch at first; a larger graph stands alone.
    """

    def __init__(
        self,
        compute: Callable[[list[_Graph]], list[Evaluation]],
        size_of: Callable[[_Graph], int],
        most_edges: int,
    ) -> None:
        self._compute = compute
        self._size_of = size_of
        self.most_edges = most_edges

    def run(self, graphs: Sequence[_Graph]) -> list[Evaluation]:
        """Return the evaluations in the order of the graphs.

        Raises
        ------
        DismaiError
            If the memory does not suffice for a single graph.
        """
        evaluations: list[Evaluation] = []
        while len(evaluations) < len(graphs):
            batch = self._next(graphs, len(evaluations))
            made = self._try(batch)
            if made is not None:
                evaluations += made
                continue
            # Outside of the handler of the exception, which holds the tensors of the batch.
            edges = sum(map(self._size_of, batch))
            if len(batch) == 1:
                raise DismaiError(
                    f"the memory of the device does not suffice for one structure of {edges} "
                    "edges: use cpu"
                )
            self.most_edges = edges // 2
        return evaluations

    def _next(self, graphs: Sequence[_Graph], start: int) -> list[_Graph]:
        stop, edges = start + 1, self._size_of(graphs[start])
        while stop < len(graphs):
            edges += self._size_of(graphs[stop])
            if edges > self.most_edges:
                break
            stop += 1
        return list(graphs[start:stop])

    def _try(self, batch: list[_Graph]) -> list[Evaluation] | None:
        try:
            return self._compute(batch)
        except RuntimeError as error:
            # torch.OutOfMemoryError, without importing torch.
            if type(error).__name__ != "OutOfMemoryError":
                raise
            return None
