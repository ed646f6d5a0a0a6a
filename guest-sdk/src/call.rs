//! A call as a future.

use std::pin::Pin;
use std::task::{Context, Poll};

use serde::de::DeserializeOwned;

use crate::error::Failed;
use crate::{CallError, Output, executor, imports};

/// A call of a tool. It starts when it is first polled, so calls that are awaited together are out
/// together, and it is cancelled upstream when it is dropped before its answer came.
///
/// Made by [`tools::call`](crate::tools::call).
#[derive(Debug)]
#[must_use = "a call does nothing unless it is awaited"]
pub struct Call {
    state: State,
    /// What is called, for messages.
    name: String,
}

/// What can be started.
#[derive(Debug)]
pub(crate) enum Request {
    Tool { name: String, arguments: String },
    Resource { server: String, uri: String },
    Prompt { name: String, arguments: String },
}

#[derive(Debug)]
enum State {
    New(Request),
    /// It cannot be started.
    Refused(CallError),
    Out(u64),
    Over,
}

impl Call {
    pub(crate) fn new(name: String, request: Result<Request, CallError>) -> Self {
        let state = match request {
            Ok(request) => State::New(request),
            Err(error) => State::Refused(error),
        };
        Self { state, name }
    }

    /// Awaits the answer as a value of your type: see [`Output::json`].
    ///
    /// # Errors
    /// The call's own, or [`CallError::Unexpected`] when the answer does not fit.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, CallError> {
        let name = self.name.clone();
        self.await?.json().map_err(|error| CallError::Unexpected(format!("{name}: {error}")))
    }

    /// Awaits the answer's text.
    ///
    /// # Errors
    /// The call's own.
    pub async fn text(self) -> Result<String, CallError> {
        Ok(self.await?.text())
    }
}

impl Future for Call {
    type Output = Result<Output, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let id = match std::mem::replace(&mut self.state, State::Over) {
            State::New(request) => {
                let id = match request {
                    Request::Tool { name, arguments } => imports::start(&name, &arguments),
                    Request::Resource { server, uri } => imports::start_read(&server, &uri),
                    Request::Prompt { name, arguments } => imports::start_prompt(&name, &arguments),
                };
                executor::started(id);
                id
            }
            State::Refused(error) => return Poll::Ready(Err(error)),
            State::Out(id) => id,
            State::Over => panic!("the call of {} was polled after its answer", self.name),
        };
        self.state = State::Out(id);
        executor::poll_call(id, context).map(|answer| {
            self.state = State::Over;
            let output = answer?;
            if output.is_error {
                let tool = self.name.clone();
                return Err(CallError::Failed(Box::new(Failed { tool, output })));
            }
            Ok(output)
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let State::Out(id) = self.state {
            executor::forget(id);
        }
    }
}
