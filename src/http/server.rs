//! Serving: a listener, a router, and an end.

use crate::shutdown::Shutdown;
use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

/// Serves until the shutdown's token is cancelled, then lets requests under way end.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, shutdown: &Shutdown) -> std::io::Result<()> {
    let token = shutdown.token.clone();
    // Otherwise the end of a streamed answer waits 40 ms for the client to acknowledge what came before.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps small packets back");
        }
    });
    axum::serve(listener, router).with_graceful_shutdown(async move { token.cancelled().await }).await
}
