//! The service as a process of its own, on a database that tests choose.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A running `serve`; killed when dropped.
pub struct ServiceProcess {
    process: Child,
    pub address: String,
}

impl ServiceProcess {
    /// Starts the binary and waits until it serves.
    pub fn start(url: &str) -> Self {
        Self::start_with(url, &[])
    }

    /// The same, with more settings.
    pub fn start_with(url: &str, settings: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_pfa-vanguard"))
            .arg("serve")
            .env("DATABASE_URL", url)
            .env("PFA_BIND", "127.0.0.1:0")
            .env("PFA_LOG", "info")
            .env("PFA_LOG_FORMAT", "text")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut lines = String::new();
        let address = loop {
            let begin = lines.len();
            assert!(log.read_line(&mut lines).unwrap() > 0, "serve ended before it was ready: {lines}");
            if let Some((_, address)) = lines[begin..].split_once("serving address=") {
                break address.trim().to_owned();
            }
        };
        // A full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { process, address }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a GET gives.
pub fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Sends a POST as a user; the status and the body, or nothing when the answer was cut off.
pub fn post(address: &str, user: &str, path: &str, headers: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-user-id: {user}\r\ncontent-length: {length}\r\n");
    stream.write_all(format!("{head}content-type: application/json\r\n{headers}\r\n{body}").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let is_whole = length.trim().parse() == Ok(body.len());
    is_whole.then(|| (head.split_whitespace().nth(1).unwrap().parse().unwrap(), body.to_owned()))
}
