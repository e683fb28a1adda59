//! How the C library's allocator gives memory back.

/// Blocks from this size on are mapped one by one, in bytes, and go back to the system when they are freed.
///
/// The library raises its own bound to 32 MiB as such blocks are freed. Then the buffers of writers that come and go
/// leave holes between those that stay, and a thousand writers hold twice what they use.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES_MIN: libc::c_int = 64 << 10;

/// Sets the bound. Elsewhere than on Linux with glibc, allocators are left as they are.
pub(crate) fn settle() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "the library has no safe way to be told")]
    // SAFETY: it sets a number in the allocator, before this process has a second thread. A refusal changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
    }
}
