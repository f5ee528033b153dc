//! What the service computes itself, record by record: reading, merging, comparing, cursors, statements, JSON.
//!
//! `cargo bench --bench hot`; a name or a part of one picks. Before the times it prints how often a page of a
//! thousand rows asks for memory, which is the same on every machine.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

mod page;
mod records;

use criterion::{Criterion, criterion_group, criterion_main};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn hot(criterion: &mut Criterion) {
    page::print_allocations(ALLOCATOR);
    records::measure(criterion);
    page::measure(criterion);
}

criterion_group!(benches, hot);
criterion_main!(benches);
