"""A step's fold is the same however many records wait to be folded."""

from __future__ import annotations

from functools import reduce
from hashlib import blake2b

import pytest
from detctl_probe.transport import chain


@pytest.mark.parametrize("count", [0, 1, 3, chain.WAITING_BYTES_MAX // 16, chain.WAITING_BYTES_MAX // 16 + 5])
def test_a_fold_is_a_hash_and_a_sum_over_its_records(count: int) -> None:
    hashes = [chain.record_hash("layer", n, "float32", (2, 3), bytes(16)) for n in range(count)]
    fold = chain.StepFold()
    for hash_ in hashes:
        fold.take(hash_)
        if fold.count == 2:  # looking at it in between changes nothing
            assert fold.sum == chain.add(hashes[0], hashes[1])
    assert fold.count == count
    assert fold.digest == blake2b(b"".join(hashes), digest_size=16).digest()
    assert fold.sum == reduce(chain.add, hashes, chain.ZERO)
