//! How the C library's allocator gives memory back.

/// Blocks from this size on are mapped one by one, in bytes, and go back to the system when they are freed.
///
/// The library raises its own bound to 32 MiB as such blocks are freed. Then the buffers of writers that come and go
/// leave holes between those that stay, and a thousand writers hold twice what they use.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES_MIN: libc::c_int = 64 << 10;

/// Sets the bounds. Elsewhere than on Linux with glibc, allocators are left as they are.
pub(crate) fn settle() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "the library has no safe way to be told")]
    // SAFETY: they set numbers in the allocator, before this process has a second thread. A refusal changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
        libc::mallopt(libc::M_ARENA_MAX, arenas());
    }
}

/// As many arenas as threads can run at once. The library's eight for each core keep what hundreds of threads, of which
/// most wait, once used.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn arenas() -> libc::c_int {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    libc::c_int::try_from(cores).unwrap_or(libc::c_int::MAX)
}
