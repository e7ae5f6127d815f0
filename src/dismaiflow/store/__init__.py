"""Where results are kept: the embedded store, and blobs in any JobStore.

Nothing here imports jobflow on loading, because jobflow's settings may name the embedded store
and load it while jobflow itself is being loaded.
"""

from __future__ import annotations

from dismaiflow.store.blobs import (
    MAX_BLOB_BYTES,
    current_jobstore,
    get_blob,
    has_blob,
    put_blob,
)
from dismaiflow.store.embedded import EmbeddedStore, embedded_jobstore

__all__ = [
    "MAX_BLOB_BYTES",
    "EmbeddedStore",
    "current_jobstore",
    "embedded_jobstore",
    "get_blob",
    "has_blob",
    "put_blob",
]
