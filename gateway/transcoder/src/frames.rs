//! gRPC's length-prefixed messages.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use tonic::{Code, Status};

use crate::BoxError;

/// A flag and a length in front of each message.
pub(crate) const PREFIX: usize = 5;

/// Starts a message; its length is not known yet.
pub(crate) fn open(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; PREFIX]);
    out.len()
}

/// Ends the message that was opened at `start`.
pub(crate) fn close(out: &mut [u8], start: usize) {
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start - 4..start].copy_from_slice(&length.to_be_bytes());
}

/// Reads the messages of a gRPC answer, without copying where it can.
pub(crate) struct Frames<R> {
    body: Pin<Box<R>>,
    /// Whole messages are cut from here.
    chunk: Bytes,
    /// Messages that span several chunks are gathered here.
    partial: BytesMut,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl<R> Frames<R>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    pub(crate) fn new(body: R) -> Self {
        Self {
            body: Box::pin(body),
            chunk: Bytes::new(),
            partial: BytesMut::new(),
            trailers: None,
            ended: false,
        }
    }

    /// The trailers, after the last message.
    pub(crate) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            match self.cut() {
                Ok(None) => {}
                found => return Poll::Ready(found.transpose()),
            }
            if self.ended {
                let rest = !self.chunk.is_empty() || !self.partial.is_empty();
                self.chunk.clear();
                self.partial.clear();
                let cut_off = || Err(Status::internal("the answer ends within a message"));
                return Poll::Ready(rest.then(cut_off));
            }
            match ready!(self.body.as_mut().poll_frame(cx)) {
                None => self.ended = true,
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(Status::from_error(error.into()))));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.push(data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
    }

    fn push(&mut self, data: Bytes) {
        if self.partial.is_empty() && self.chunk.is_empty() {
            self.chunk = data;
            return;
        }
        if self.partial.is_empty() {
            let size = message_size(&self.chunk).unwrap_or(PREFIX);
            self.partial
                .reserve(size.min(self.chunk.len() + data.len() + (1 << 20)));
            self.partial.extend_from_slice(&self.chunk);
            self.chunk.clear();
        }
        self.partial.extend_from_slice(&data);
    }

    /// Cuts off a message if a whole one is there.
    fn cut(&mut self) -> Result<Option<Bytes>, Status> {
        let bytes: &[u8] = if self.partial.is_empty() {
            &self.chunk
        } else {
            &self.partial
        };
        let Some(size) = message_size(bytes) else {
            return Ok(None);
        };
        if bytes[0] != 0 {
            self.ended = true;
            self.chunk.clear();
            self.partial.clear();
            return Err(Status::new(
                Code::Internal,
                "a compressed message that nobody asked for",
            ));
        }
        if bytes.len() < size {
            return Ok(None);
        }
        let mut message = match self.partial.is_empty() {
            true => self.chunk.split_to(size),
            false => self.partial.split_to(size).freeze(),
        };
        message.advance(PREFIX);
        Ok(Some(message))
    }
}

/// The size of the message at the front, its prefix included.
fn message_size(bytes: &[u8]) -> Option<usize> {
    let prefix: &[u8; PREFIX] = bytes.first_chunk()?;
    let [_, length @ ..] = *prefix;
    Some(PREFIX + u32::from_be_bytes(length) as usize)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures::executor::block_on;
    use http_body::Frame;
    use http_body_util::StreamBody;

    fn read(chunks: Vec<Vec<u8>>) -> Vec<Result<Vec<u8>, String>> {
        let frames = chunks
            .into_iter()
            .map(|c| Ok::<_, BoxError>(Frame::data(Bytes::from(c))));
        let mut frames = Frames::new(StreamBody::new(futures::stream::iter(frames)));
        let mut messages = Vec::new();
        while let Some(message) = block_on(frames.next()) {
            let message = message
                .map(|m| m.to_vec())
                .map_err(|s| s.message().to_owned());
            let failed = message.is_err();
            messages.push(message);
            if failed {
                break;
            }
        }
        messages
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let mut bytes = Vec::new();
        let want = [vec![1; 3], vec![], vec![2; 700]];
        for message in &want {
            let start = open(&mut bytes);
            bytes.extend_from_slice(message);
            close(&mut bytes, start);
        }
        for size in [1, 2, 3, 5, 7, 100, 10_000] {
            let got = read(bytes.chunks(size).map(<[u8]>::to_vec).collect());
            let got: Vec<Vec<u8>> = got.into_iter().map(Result::unwrap).collect();
            assert_eq!(got, want, "{size}");
        }
    }

    #[test]
    fn half_messages_and_compressed_ones_are_errors() {
        let got = read(vec![vec![0, 0, 0, 0, 9, 1]]);
        assert_eq!(got, [Err("the answer ends within a message".to_owned())]);
        let got = read(vec![vec![1, 0, 0, 0, 1, 1]]);
        assert_eq!(
            got,
            [Err("a compressed message that nobody asked for".to_owned())]
        );
    }
}
