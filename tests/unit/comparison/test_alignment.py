"""What a difference of one step is: permutation, content or structure, and how large."""

from __future__ import annotations

from dataclasses import replace

from detctl_coordinator.comparison.alignment import SiteDifference, align, kind_of, name_hash
from detctl_coordinator.comparison.sizes.sketches import one_bit_flip, relative_size, size_class
from detctl_coordinator.domain.fingerprint import Fingerprint

from tests.support.memory_runs import RunBuilder, digest_of, sketch_of


def rows_of(*rows: object, **more: object) -> Fingerprint:
    return RunBuilder().add("batch", 0, "0", rows=rows, **more).rows[0]


def one(a: Fingerprint, b: Fingerprint) -> SiteDifference:
    (found,) = align([a], [b])
    return found


def test_equal_records_do_not_differ() -> None:
    assert align([rows_of(1, 2)], [rows_of(1, 2)]) == []


def test_moved_rows_are_a_permutation() -> None:
    found = one(rows_of(1, 2, 3), rows_of(3, 2, 1))
    assert (found.kind, found.rows) == ("permutation", (0, 2))


def test_a_duplicate_is_content_and_its_row_is_named() -> None:
    found = one(rows_of(1, 2, 3), rows_of(1, 2, 2))
    assert (found.kind, found.rows) == ("content", (2,))


def test_shape_and_dtype_are_structure() -> None:
    assert one(rows_of(1, 2), rows_of(1, 2, 3)).kind == "structure"
    found = one(rows_of(1), replace(rows_of(1), dtype="float16"))
    assert found.kind == "structure" and found.description == "the dtypes differ: float32 vs float16"


def test_missing_and_extra_records_are_structure() -> None:
    builder = RunBuilder().add("forward", 0, "a").add("forward", 0, "a").add("forward", 0, "b")
    found = align(builder.rows[:2], [builder.rows[0], builder.rows[2]])
    assert [(d.site, d.occurrence, d.kind) for d in found] == [("a", 1, "structure"), ("b", 0, "structure")]
    assert kind_of(found) == "structure"


def test_records_of_one_site_in_another_order_are_a_permutation() -> None:
    left, right = RunBuilder(), RunBuilder()
    for name in ("x", "y", "z"):
        left.add("files", 0, "main", name, dtype="py:path")
    for name in ("z", "x", "y"):
        right.add("files", 0, "main", name, dtype="py:path")
    assert kind_of(align(left.rows, right.rows)) == "permutation"
    right.rows[0] = replace(right.rows[0], digest=digest_of("new"))
    assert kind_of(align(left.rows, right.rows)) == "content"


def test_names_that_one_side_lacks_are_reported() -> None:
    def listing(*names: str) -> Fingerprint:
        record = RunBuilder().add("listing", 0, "{data}", dtype="py:names", evidence={"first": list(names)}).rows[0]
        return replace(record, rows=tuple(map(name_hash, names)), shape=(len(names),), digest=digest_of(names))

    found = one(listing("a.png", "b.png"), listing("a.png"))
    assert found.only_left == ("b.png",) and "only the first has b.png" in found.description


def test_sizes_come_from_sketches() -> None:
    base = [1.0, 2.0, 3.0]
    near, far = [1.0, 2.0, 3.0000004], [5.0, -1.0, 0.5]
    assert size_class(relative_size(sketch_of(base), sketch_of(near)), "float32") == "tiny"
    assert size_class(relative_size(sketch_of(base), sketch_of(near)), "float64") == "small"
    assert size_class(relative_size(sketch_of(base), sketch_of(far)), "float32") == "gross"
    assert relative_size(None, sketch_of(far)) is None


def test_one_flipped_bit_leaves_its_mark() -> None:
    assert one_bit_flip(sketch_of([1.0, 2.0]), sketch_of([1.0, 2.25])) == 0.25
    assert one_bit_flip(sketch_of([1.0, 2.0]), sketch_of([1.0, 2.3])) is None
    assert one_bit_flip(sketch_of([1.0, 2.0]), sketch_of([1.5, 2.25])) is None
