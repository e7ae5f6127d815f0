"""What jobs have counted or computed of a set, put together again, and all that was not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np

from dismaiflow.benchmark.runs import example
from dismaiflow.benchmark.schemas import CountedChunk, Failure
from dismaiflow.errors import BlobError
from dismaiflow.store.blobs import get_blob
from dismaiflow.store.generated import unreadable
from dismaiflow.store.structures import get_chunk
from dismaiflow.structures.read import BadFrame
from dismaiflow.structures.structure_set import INDEX_LABEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dismaiflow.store.generated import GeneratedSet
    from dismaiflow.store.structures import StructuresRef


class PerStructure(Protocol):
    """Results by structure, such as cluster counts."""

    @property
    def indices(self) -> NDArray[np.int64]:
        """Place of each structure in its source."""
        ...

    @property
    def bad(self) -> list[BadFrame]:
        """Structures without results."""
        ...

    def __len__(self) -> int: ...

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join the results of parts."""
        ...

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read them."""
        ...

    def emptied(self) -> Self:
        """Return results of no structure."""
        ...


Results = TypeVar("Results", bound=PerStructure)


def collect_results(
    jobstore: Any,
    generated: GeneratedSet,
    chunks: list[CountedChunk | None] | None,
    file: int,
    like: Results,
    relaxed: Sequence[BadFrame] = (),
    lost: Sequence[str] = (),
) -> tuple[Results, list[Failure]]:
    """Fetch the results of a set and list everything in it that has none.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    generated : GeneratedSet
        The set.
    chunks : list of CountedChunk or None
        What jobs have left of its parts, None where one failed.
    file : int
        Number of the generated file.
    like : results of a set
        Of the same shapes, for a set without any.
    relaxed : sequence of BadFrame
        Structures that went no further than relaxation.
    lost : sequence of str
        Why structures were lost before anything could be computed of them.

    Returns
    -------
    results
        By place in the source.
    failed : list of Failure
        Sorted by place; with the results they are all frames of the source.
    """
    done = [chunk for chunk in chunks or [] if chunk is not None]
    parts = [type(like).from_bytes(get_blob(jobstore, chunk.counts)) for chunk in done]
    counted = type(like).concatenate(parts) if parts else like.emptied()
    failed = [
        Failure(file=file, index=bad.index, reason=bad.reason, detail=bad.detail)
        for bad in (*unreadable(jobstore, generated), *relaxed, *counted.bad)
    ]
    # Whatever no job has told of was lost with its job, or before.
    told = {*counted.indices.tolist(), *(failure.index for failure in failed)}
    gone = [*lost, *(message for chunk in done for message in chunk.lost)]
    detail = gone[0] if gone else "the job that was to count it did not finish"
    failed.extend(
        Failure(file=file, index=i, reason="job_failed", detail=detail)
        for i in range(generated.n_frames)
        if i not in told
    )
    return counted, sorted(failed, key=lambda failure: failure.index)


def find_example(
    jobstore: Any, structures: StructuresRef, index: int | None
) -> dict[str, Any] | None:
    """Fetch the structure with a place in the source, for a viewer; None if it is not there."""
    for blob in structures.chunks if index is not None else ():
        try:
            chunk = get_chunk(jobstore, blob)
        except BlobError:  # its structures are among the failed
            continue
        place = np.flatnonzero(chunk.labels[INDEX_LABEL] == index)
        if len(place):
            return example(chunk, int(place[0]))
    return None
