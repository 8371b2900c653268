//! Where parallel work runs. A forked child (torch's data loaders fork) inherits a pool without its threads and would wait
//! for them for ever, so every process has a pool of its own.

use std::mem;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};
use trainproof_hash::PARALLEL_BYTES;

static POOL: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);

/// Runs `work` on this process's pool if it is about `bytes` large, else here. RAYON_NUM_THREADS sets the pool's size.
pub(crate) fn run<R: Send>(bytes: usize, work: impl FnOnce() -> R + Send) -> R {
    if bytes < PARALLEL_BYTES {
        return work();
    }
    match pool() {
        Some(pool) => pool.install(work),
        // No thread can be started. Rayon's own pool may exist already; if not, it says why it cannot.
        None => work(),
    }
}

fn pool() -> Option<Arc<ThreadPool>> {
    let mut slot = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    match &*slot {
        Some((owner, pool)) if *owner == process::id() => Some(Arc::clone(pool)),
        _ => {
            let pool = ThreadPoolBuilder::new()
                .thread_name(|i| format!("trainproof-{i}"))
                .build()
                .ok()?;
            let pool = Arc::new(pool);
            let inherited = slot.replace((process::id(), Arc::clone(&pool)));
            // Dropping it would wake threads that are not there, through locks they may have held.
            mem::forget(inherited);
            Some(pool)
        }
    }
}
