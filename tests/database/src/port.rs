//! Ports for servers that are stopped and started again.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range that systems take clients' ports from: nobody else may get
/// one while its server is away.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

/// A port of 127.0.0.1 that is free now, and that this process gets once.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test processes that run at once begin far from each other.
    let begin = std::process::id().wrapping_mul(7919) % COUNT;
    for _ in 0..COUNT {
        let next = begin + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + next % COUNT).expect("a port is below 65536");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
