//! Signals, and the one cancellation tree that every task hangs on.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Waits for SIGINT or SIGTERM, then cancels `stop`.
pub async fn on_signal(stop: CancellationToken) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Sent by mistake, by scripts that rotate logs for one; as with etcd they end nothing.
    let _deaf = [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?];
    let name = tokio::select! {
        _ = interrupt.recv() => "interrupt",
        _ = terminate.recv() => "terminated",
        () = stop.cancelled() => return Ok(()),
    };
    info!(signal = name, "received signal; shutting down");
    stop.cancel();
    Ok(())
}
