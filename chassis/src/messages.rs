//! The messages of a call whose client streams.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use proto::{Path, Validate};
use tonic::{Request, Streaming};

use crate::caller::{Caller, Subject};
use crate::error::{Error, Result};

/// Messages of a client, each of which keeps the contract's rules. Ends after
/// the first error: a message that breaks them, named by its index, or a
/// client that went away before it had told all.
pub struct Messages<T> {
    stream: Streaming<T>,
    /// How many came so far.
    count: usize,
    failed: bool,
}

/// Splits a request into its tenant-scoped caller and its messages. Fails
/// closed.
pub fn open_stream<T>(request: Request<Streaming<T>>) -> Result<(Caller, Messages<T>)> {
    let (_, mut extensions, stream) = request.into_parts();
    let subject = extensions
        .remove::<Subject>()
        .ok_or_else(|| Error::unauthenticated("no verified caller"))?;
    let messages = Messages {
        stream,
        count: 0,
        failed: false,
    };
    Ok((subject.scoped()?, messages))
}

impl<T: Validate> Messages<T> {
    /// The message, if it keeps the contract's rules; else all its violations.
    fn check(&mut self, message: T) -> Result<T> {
        let mut violations = Vec::new();
        message.validate(&Path::Root.index(self.count), &mut violations);
        self.count += 1;
        match violations.is_empty() {
            true => Ok(message),
            false => Err(Error::Invalid(violations)),
        }
    }
}

impl<T: Validate> Stream for Messages<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let next = ready!(Pin::new(&mut self.stream).poll_next(context));
        let next = next.map(|message| message.map_err(Error::from).and_then(|m| self.check(m)));
        self.failed = matches!(next, Some(Err(_)));
        Poll::Ready(next)
    }
}
