//! Work on threads of its own, which give way: the devices' messages do not wait until it pauses.

use std::future::Future;

use rustix::process::setpriority_process;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// Nice value of the threads: where processors are short they get a tenth of what others get.
const NICE: i32 = 10;

/// Runs a future, and what it spawns, on threads of this name and of less priority, as many as there are processors.
/// None if it panicked or the system gives no threads.
pub(super) async fn apart<F>(name: &'static str, work: F) -> Option<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (done, outcome) = oneshot::channel();
    let run = move || {
        give_way();
        let runtime = Builder::new_multi_thread()
            .thread_name(name)
            .on_thread_start(give_way)
            .enable_all()
            .build();
        match runtime {
            // Who waited may have gone.
            Ok(runtime) => drop(done.send(runtime.block_on(work))),
            Err(error) => tracing::error!(%error, name, "no threads"),
        }
    };
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    if let Err(error) = started {
        tracing::error!(%error, name, "no threads");
        return None;
    }
    outcome.await.ok()
}

/// Lowers the priority of the calling thread: Linux has one for each.
fn give_way() {
    if let Err(error) = setpriority_process(None, NICE) {
        tracing::debug!(%error, "the priority of a thread stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_and_what_it_spawns_is_on_the_threads_named() {
        let names = apart("apart", async {
            let own = || std::thread::current().name().map(str::to_owned);
            (own(), tokio::spawn(async move { own() }).await.unwrap())
        });
        let named = Some("apart".to_owned());
        assert_eq!(names.await, Some((named.clone(), named)));
    }

    #[tokio::test]
    async fn work_gives_way_and_others_do_not() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let worked = apart("apart", async move {
            let spawned = tokio::spawn(async move { nice() }).await.unwrap();
            let blocking = tokio::task::spawn_blocking(nice).await.unwrap();
            [nice(), spawned, blocking]
        });
        assert_eq!(worked.await, Some([NICE.max(before); 3]));
        assert_eq!(nice(), before);
    }

    #[tokio::test]
    async fn a_panic_is_no_outcome() {
        let outcome = apart("apart", async { assert!(std::hint::black_box(false)) });
        assert_eq!(outcome.await, None);
    }
}
