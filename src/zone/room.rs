/// glibc puts nothing larger than this among other values, whatever was freed before
/// (`DEFAULT_MMAP_THRESHOLD_MAX` in its `malloc.c`).
const ALWAYS_APART: usize = 32 << 20;
/// Smaller tables may lie among other values.
const LARGE: usize = 128 << 10;

/// An empty table for about `count` values that goes back to the system when it is dropped.
///
/// An allocator gives its heap back from the end only, so that a large zone leaves a hole as large
/// as itself, and every reload finds its room above the zone that it replaces. A table that begins
/// with more room than the heap ever gives has pages of its own. Only those that are written to are
/// memory; `shrink_to_fit` returns the others and leaves the table where it is.
pub fn room<T>(count: usize) -> Vec<T> {
    let size = size_of::<T>().max(1);
    let mut table = Vec::new();
    let apart = count.saturating_mul(size) >= LARGE
        && table.try_reserve_exact(count.max(ALWAYS_APART / size + 1)).is_ok();
    if !apart {
        table.reserve_exact(count);
    }
    table
}
