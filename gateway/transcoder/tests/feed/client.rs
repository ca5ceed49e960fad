//! A client that sends a body in pieces, and may go away.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::HOST;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use super::PATIENCE;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Version {
    Http1,
    Http2,
}

type Piece = Result<Frame<Bytes>, std::io::Error>;

/// The body of a request; it ends when this is dropped.
pub struct Upload(Sender<Piece>);

impl Upload {
    pub async fn send(&self, text: &str) {
        // Nobody reads what comes after an answer.
        let piece = Bytes::copy_from_slice(text.as_bytes());
        if !piece.is_empty() {
            let _ = self.0.send(Ok(Frame::data(piece))).await;
        }
    }

    pub fn break_off(self) {
        let _ = self.0.try_send(Err(std::io::Error::other("gone")));
    }
}

/// The answer that has not begun yet.
pub struct Answering {
    answer: JoinHandle<http::Response<Incoming>>,
    connection: AbortHandle,
}

/// An answer that has begun.
pub struct Answered {
    response: http::Response<Incoming>,
    connection: AbortHandle,
}

impl Answering {
    pub async fn begun(self) -> Answered {
        Answered {
            response: timeout(PATIENCE, self.answer).await.unwrap().unwrap(),
            connection: self.connection,
        }
    }

    pub async fn whole(self) -> (u16, String) {
        let answered = self.begun().await;
        let status = answered.response.status().as_u16();
        let body = answered.response.into_body().collect().await.unwrap();
        (status, String::from_utf8(body.to_bytes().to_vec()).unwrap())
    }

    pub fn go_away(self) {
        self.answer.abort();
        self.connection.abort();
    }
}

impl Answered {
    /// The next piece of the body.
    pub async fn chunk(&mut self) -> Option<String> {
        loop {
            let frame = timeout(PATIENCE, self.response.body_mut().frame()).await;
            let data = frame.unwrap()?.unwrap().into_data().unwrap();
            // HTTP/2 may end with a frame of nothing.
            if !data.is_empty() {
                return Some(String::from_utf8(data.to_vec()).unwrap());
            }
        }
    }

    pub fn go_away(self) {
        self.connection.abort();
    }
}

pub async fn send(
    address: SocketAddr,
    version: Version,
    request: http::Request<()>,
) -> (Upload, Answering) {
    let (sender, receiver) = mpsc::channel::<Piece>(1);
    let mut request = request.map(|()| StreamBody::new(ReceiverStream::new(receiver)));
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (answer, connection) = match version {
        Version::Http1 => {
            let host = address.to_string().parse().unwrap();
            request.headers_mut().insert(HOST, host);
            let (mut sender, connection) = http1::handshake(io).await.unwrap();
            let connection = tokio::spawn(connection).abort_handle();
            let answer = async move { sender.send_request(request).await.unwrap() };
            (tokio::spawn(answer), connection)
        }
        Version::Http2 => {
            let uri = format!("http://{address}{}", request.uri());
            *request.uri_mut() = uri.parse().unwrap();
            let executor = TokioExecutor::new();
            let (mut sender, connection) = http2::handshake(executor, io).await.unwrap();
            let connection = tokio::spawn(connection).abort_handle();
            let answer = async move { sender.send_request(request).await.unwrap() };
            (tokio::spawn(answer), connection)
        }
    };
    (Upload(sender), Answering { answer, connection })
}
