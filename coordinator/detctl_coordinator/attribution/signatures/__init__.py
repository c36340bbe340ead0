"""The signatures of causes, one file for each family. They are tried in the order of SIGNATURES; the first match names the cause.

The order is: code and manifest, permutation or content, random states, twins, size of the difference. The narrowest cause word wins,
and config-drift never replaces a narrower one (docs/adr/0021).
"""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.cause_finding import Signature
from detctl_coordinator.attribution.signatures.cache_state import cache_state, leftover_files
from detctl_coordinator.attribution.signatures.code_version import code_version
from detctl_coordinator.attribution.signatures.config_drift import config_drift
from detctl_coordinator.attribution.signatures.data_content import changed_samples, data_content, named_files
from detctl_coordinator.attribution.signatures.filesystem_order import filesystem_order
from detctl_coordinator.attribution.signatures.hash_order import hash_order, hashed_seed
from detctl_coordinator.attribution.signatures.kernels import hardware_fault, nondeterministic_kernel
from detctl_coordinator.attribution.signatures.numerics import cpu_isa, library_version, precision_mode, thread_count
from detctl_coordinator.attribution.signatures.optimizers import drawn_setting, parameter_order, prepared_settings
from detctl_coordinator.attribution.signatures.orders import concurrency, raced_draws, raced_processes, stateful_data
from detctl_coordinator.attribution.signatures.outside import (
    chosen_outside,
    command_output,
    drawing_query,
    order_by_times,
    raced_inserts,
    uninitialised_memory,
)
from detctl_coordinator.attribution.signatures.resume import resume, unaligned
from detctl_coordinator.attribution.signatures.seeds import extra_rng_draw, identity_seed, unseeded_rng, worker_seeding
from detctl_coordinator.attribution.signatures.unknown import unknown
from detctl_coordinator.attribution.signatures.worker_count import worker_count

SIGNATURES: tuple[Signature, ...] = (
    resume,
    unaligned,
    raced_processes,
    filesystem_order,
    code_version,
    changed_samples,
    worker_count,
    raced_draws,
    hashed_seed,
    identity_seed,
    worker_seeding,
    uninitialised_memory,
    order_by_times,
    raced_inserts,
    command_output,
    drawing_query,
    chosen_outside,
    hash_order,
    stateful_data,
    unseeded_rng,
    thread_count,
    precision_mode,
    cpu_isa,
    library_version,
    cache_state,
    data_content,
    concurrency,
    parameter_order,
    hardware_fault,
    nondeterministic_kernel,
    config_drift,
    extra_rng_draw,
    leftover_files,
    named_files,
    unknown,
)

# For a root that is a setting or a restored state: no kernel, thread or sample makes those differ.
PREPARED_SIGNATURES: tuple[Signature, ...] = (
    parameter_order,
    resume,
    unaligned,
    raced_processes,
    code_version,
    unseeded_rng,
    drawn_setting,
    chosen_outside,
    prepared_settings,
    config_drift,
    library_version,
    unknown,
)

__all__ = ["PREPARED_SIGNATURES", "SIGNATURES"]
