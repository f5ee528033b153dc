//! `demo` as a process of its own, in a directory that tests choose.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// A running demo; killed when dropped.
pub struct Demo {
    process: Child,
    output: BufReader<ChildStdout>,
    /// Its host and port.
    pub address: String,
}

/// A directory that the account which PostgreSQL runs as can reach, also when the test runs as root.
pub fn demo_directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

impl Demo {
    /// Starts the binary and waits until it says its address.
    pub fn start(directory: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_pfa-vanguard"))
            .arg("demo")
            .current_dir(directory)
            .env_remove("DATABASE_URL")
            .env("PFA_BIND", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut demo = Self { process, output, address: String::new() };
        demo.address = demo.told("ready at http://");
        demo
    }

    /// The host and port of its PEMS, which it tells after its own.
    pub fn pems(&mut self) -> String {
        self.told("Its PEMS is at http://").trim_end_matches(';').to_owned()
    }

    /// The word that follows these in what it prints.
    fn told(&mut self, before: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "demo ended before it told where it is");
            if let Some((_, after)) = line.split_once(before) {
                return after.split_whitespace().next().unwrap().to_owned();
            }
        }
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split_whitespace().nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    pub fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Sends a signal; gives the exit code.
    pub fn end(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
        self.process.wait().unwrap().code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended before; its watchdog ends the database.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
