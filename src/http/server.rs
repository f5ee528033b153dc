//! Serving: a listener, a router, and an end.

use crate::shutdown::Shutdown;
use axum::Router;
use tokio::net::TcpListener;

/// Serves until the shutdown's token is cancelled, then lets requests under way end.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, shutdown: &Shutdown) -> std::io::Result<()> {
    let token = shutdown.token.clone();
    axum::serve(listener, router).with_graceful_shutdown(async move { token.cancelled().await }).await
}
