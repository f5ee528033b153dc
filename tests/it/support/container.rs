//! A `postgres:15` container, when an engine answers. A tiny shell removes it when the test
//! process ends, however it ends.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testcontainers::core::{IntoContainerPort as _, Mount};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ImageExt as _};
use testcontainers_modules::postgres::Postgres;

/// A running container.
pub struct Container {
    pub url: String,
    _engine: ContainerAsync<Postgres>,
    _remover: Child,
}

/// Whether an engine answers where testcontainers looks for it.
pub fn engine_answers() -> Result<(), String> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let Some(path) = host.strip_prefix("unix://") else { return Ok(()) };
    let mut socket = UnixStream::connect(path).map_err(|_| "no container engine answers".to_owned())?;
    socket.set_read_timeout(Some(Duration::from_secs(5))).map_err(|error| error.to_string())?;
    socket.write_all(b"GET /_ping HTTP/1.0\r\n\r\n").map_err(|error| error.to_string())?;
    let mut answer = [0; 12];
    std::io::Read::read_exact(&mut socket, &mut answer).map_err(|error| error.to_string())?;
    if answer.ends_with(b"200") { Ok(()) } else { Err("the container engine does not answer well".to_owned()) }
}

/// A throw-away server for the suite: with our settings, because plans depend on them, but small and fast.
pub async fn start() -> Result<Container, String> {
    let fast = ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200", "-c", "shared_buffers=256MB"];
    start_with(&fast).await
}

/// A server with our `postgres.conf`, as Docker Compose starts it.
pub async fn start_with_our_settings() -> Result<Container, String> {
    start_with(&[]).await
}

async fn start_with(settings: &[&str]) -> Result<Container, String> {
    engine_answers()?;
    let conf = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("postgres.conf");
    let image = Postgres::default()
        .with_tag("15")
        .with_mount(Mount::bind_mount(conf.display().to_string(), "/etc/postgresql/postgresql.conf"))
        .with_cmd(["-c", "config_file=/etc/postgresql/postgresql.conf"].iter().chain(settings).copied());
    run(image).await
}

async fn run(image: testcontainers::ContainerRequest<Postgres>) -> Result<Container, String> {
    let container = image.start().await.map_err(|error| error.to_string())?;
    let port = container.get_host_port_ipv4(5432.tcp()).await.map_err(|error| error.to_string())?;
    let remover = remove_at_end(container.id());
    Ok(Container { url: format!("postgres://postgres:postgres@127.0.0.1:{port}/postgres"), _engine: container, _remover: remover })
}

/// The shell waits for the end of its input, which comes with the end of this process.
fn remove_at_end(id: &str) -> Child {
    Command::new("sh")
        .args(["-c", "trap '' INT TERM; cat >/dev/null; docker rm -f -v \"$1\" >/dev/null 2>&1", "remover", id])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}
