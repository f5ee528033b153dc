//! One keep-alive connection to a router on loopback, just enough HTTP for answers with a length or in chunks.

use axum::Router;
use pfa_vanguard::http::server::serve;
use pfa_vanguard::shutdown::Shutdown;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The connection.
pub struct Client {
    stream: TcpStream,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Client {
    /// Serves a router on loopback and connects to it.
    pub async fn of(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { serve(listener, router, &Shutdown::default()).await });
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Reads the answer to a GET, or to a POST of a body, that succeeds, and keeps nothing of it, as the other ways of the ladder read
    /// rows; gives its length. What it reads ends with a body's length or with the last chunk.
    pub async fn read(&mut self, path: &str, body: &str) -> usize {
        self.request(if body.is_empty() { "GET" } else { "POST" }, path, body).await;
        let mut bytes = Vec::with_capacity(64 * 1024);
        let end = loop {
            self.read_more(&mut bytes).await;
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        assert!(head.starts_with("http/1.1 2"), "{path}: {head}");
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|length| end + length.parse::<usize>().unwrap());
        let mut read = bytes.len();
        while length.map_or_else(|| !bytes.ends_with(b"0\r\n\r\n"), |length| read < length) {
            // The end of a body in chunks may come in two pieces.
            bytes.drain(..bytes.len().saturating_sub(4));
            let before = bytes.len();
            self.read_more(&mut bytes).await;
            read += bytes.len() - before;
        }
        read
    }

    /// The body of a POST that succeeds.
    pub async fn post(&mut self, path: &str, body: &str) -> String {
        self.send("POST", path, body).await.of_success(path)
    }

    /// The body of a POST that succeeds, or of a GET where there is nothing to post.
    pub async fn get_or_post(&mut self, path: &str, body: &str) -> String {
        self.send(if body.is_empty() { "GET" } else { "POST" }, path, body).await.of_success(path)
    }

    /// Any request; a body is JSON.
    pub async fn send(&mut self, method: &str, path: &str, body: &str) -> Answer {
        self.request(method, path, body).await;
        let mut bytes = Vec::with_capacity(1 << 20);
        let end = loop {
            assert_ne!(self.stream.read_buf(&mut bytes).await.unwrap(), 0, "{path}: the connection was closed");
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        let body = if head.contains("transfer-encoding: chunked") {
            self.read_chunks(bytes.split_off(end)).await
        } else {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
            while bytes.len() < end + length {
                self.read_more(&mut bytes).await;
            }
            bytes.split_off(end)
        };
        Answer { status, body: String::from_utf8(body).unwrap() }
    }

    async fn request(&mut self, method: &str, path: &str, body: &str) {
        let content = if body.is_empty() { String::new() } else { "content-type: application/json\r\n".to_owned() };
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{content}content-length: {}\r\n\r\n{body}", body.len());
        self.stream.write_all(head.as_bytes()).await.unwrap();
    }

    /// A body in chunks, of which the first bytes are here.
    async fn read_chunks(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let (mut body, mut at) = (Vec::with_capacity(1 << 20), 0);
        loop {
            let line_end = loop {
                if let Some(length) = bytes[at..].windows(2).position(|window| window == b"\r\n") {
                    break at + length;
                }
                self.read_more(&mut bytes).await;
            };
            let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..line_end]).unwrap(), 16).unwrap();
            at = line_end + 2;
            while bytes.len() < at + size + 2 {
                self.read_more(&mut bytes).await;
            }
            body.extend_from_slice(&bytes[at..at + size]);
            at += size + 2;
            if size == 0 {
                return body;
            }
        }
    }

    async fn read_more(&mut self, bytes: &mut Vec<u8>) {
        assert_ne!(self.stream.read_buf(bytes).await.unwrap(), 0, "the connection was closed");
    }
}

impl Answer {
    fn of_success(self, path: &str) -> String {
        assert!((200..300).contains(&self.status), "{path}: {} {}", self.status, self.body);
        self.body
    }
}
