//! SIGTERM and SIGINT: the first asks to stop, the second does not ask.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::exit::{INTERRUPTED, TERMINATED};

/// What the first signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFirst {
    /// Cancels the token; the process ends when its work has.
    Graceful,
    /// The same without a word: the terminal is in use, and there is nothing to roll back.
    Quiet,
    /// Ends the process with 130 or 143: nothing has to be brought to an end.
    Exit,
}

/// The exit code of the first signal, once there was one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signalled(Arc<OnceLock<u8>>);

impl Signalled {
    pub(crate) fn exit_code(&self) -> Option<ExitCode> {
        self.0.get().copied().map(ExitCode::from)
    }
}

/// Watches from now on, for as long as the process lives.
pub(crate) fn watch(shutdown: CancellationToken, on_first: OnFirst) -> Signalled {
    let signalled = Signalled::default();
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::warn!("signals cannot be watched; a stop will not be graceful");
        return signalled;
    };
    let first = signalled.clone();
    tokio::spawn(async move {
        let code = next(&mut interrupt, &mut terminate).await;
        if on_first == OnFirst::Exit {
            std::process::exit(i32::from(code));
        }
        // It is the first: nobody has set it.
        let _ = first.0.set(code);
        let is_graceful = on_first == OnFirst::Graceful;
        if is_graceful {
            tracing::info!("stopping; a second signal forces it");
        }
        shutdown.cancel();
        let code = next(&mut interrupt, &mut terminate).await;
        if is_graceful {
            tracing::warn!("forced to stop; the batch in hand is rolled back by the destination");
        }
        std::process::exit(i32::from(code));
    });
    signalled
}

/// The exit code of the next signal.
async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> u8 {
    tokio::select! {
        _ = interrupt.recv() => INTERRUPTED,
        _ = terminate.recv() => TERMINATED,
    }
}
