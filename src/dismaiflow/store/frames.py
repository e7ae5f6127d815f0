"""Labelled frames in a store, by reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from dismaiflow.store.blobs import get_blob, put_blob
from dismaiflow.structures.frame_files import FramesCard, FramesFolder, write_frames_folder
from dismaiflow.structures.frames import FrameLabel, LabelledFrames

if TYPE_CHECKING:
    from pathlib import Path

    from jobflow import JobStore

#: Kind under which the blobs are stored.
FRAMES_KIND = "frames"

#: Bytes of the numbers of an atom: position, force and element.
_ATOM_BYTES = 49

#: Bytes of a chunk, before base64 makes a third more of them; a blob holds 16 MB.
_CHUNK_BYTES = 8_000_000


class FramesRef(BaseModel):
    """Labelled frames in the ``data`` store, small enough for any document or job input.

    Parameters
    ----------
    content_hash : str
        `LabelledFrames.content_hash`.
    n_frames : int
        Frames in it.
    chunks : list of str
        SHA-256 of its chunks, in order.
    labels : list of FrameLabel
        Where the numbers come from.
    """

    content_hash: str
    n_frames: int
    chunks: list[str]
    labels: list[FrameLabel] = Field(default_factory=list)


def put_frames(jobstore: JobStore, frames: LabelledFrames) -> FramesRef:
    """Store frames in chunks that a document of a MongoDB server can hold.

    Raises
    ------
    DismaiError
        If a single frame is too large for the store.
    """
    largest = max(frames.structures.n_atoms.tolist(), default=1)
    size = max(1, _CHUNK_BYTES // (_ATOM_BYTES * largest + 500))
    chunks = [put_blob(jobstore, part.to_bytes(), FRAMES_KIND) for part in frames.chunks(size)]
    return FramesRef(
        content_hash=frames.content_hash,
        n_frames=len(frames),
        chunks=chunks,
        labels=list(frames.labels),
    )


def get_frames(jobstore: JobStore, reference: FramesRef) -> LabelledFrames:
    """Fetch frames; a DismaiError if a chunk is missing or damaged."""
    parts = [LabelledFrames.from_bytes(get_blob(jobstore, chunk)) for chunk in reference.chunks]
    return LabelledFrames.concatenate(parts)


class FramesDoc(BaseModel):
    """A training set as a job leaves it.

    Parameters
    ----------
    system : str
        Name of its system.
    card : FramesCard
        What it is.
    sets : dict of str to FramesRef
        ``train``, ``val`` and ``test``.
    """

    kind: str = "frames"
    system: str
    card: FramesCard
    sets: dict[str, FramesRef]


def export_frames(jobstore: JobStore, document: FramesDoc, folder: Path) -> FramesFolder:
    """Write a training set of a store into a folder.

    Raises
    ------
    DismaiError
        If frames are missing from the store, or the folder cannot be written.
    """
    sets = {name: get_frames(jobstore, ref) for name, ref in document.sets.items()}
    return write_frames_folder(folder, sets, document.card)
