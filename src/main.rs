//! The `deepcut` program: parse, run, report, exit code. All work is done by the library.

mod cli;

/// Training makes and drops tensors of tens of megabytes at every step. The system's allocator gives such memory back to
/// the kernel each time and pays for it with more time than the arithmetic takes; this one keeps it for the next step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's header, for which its crate has no name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> std::process::ExitCode {
    keep_memory();
    cli::run()
}

/// Memory stays the program's until it ends, unless the environment variable `MIMALLOC_PURGE_DELAY` says otherwise: given
/// back after a second, as is mimalloc's way, it is asked for again and cleared by the kernel for the next image.
fn keep_memory() {
    #[allow(unsafe_code, reason = "the allocator's options are functions in C")]
    // SAFETY: the function stores a number, and any number is allowed.
    unsafe {
        libmimalloc_sys::mi_option_set_default(PURGE_DELAY, -1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of an option may change with the allocator; its value before tells which one it is.
    #[test]
    fn the_allocator_keeps_memory_and_had_not_before() {
        #[allow(unsafe_code, reason = "the allocator's options are functions in C")]
        // SAFETY: reads a number.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(delay(), 1000);
        keep_memory();
        assert_eq!(delay(), -1);
    }
}
