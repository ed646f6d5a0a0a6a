//! Who waits for which answer, on a link whose answers come on one stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::tool::Json;
use crate::upstream::inbox::Watch;
use crate::upstream::message::AnswerFault;
use crate::upstream::transport::TransportError;

pub(super) type Outcome = Result<Json, TransportError>;

/// The requests under way on one link.
#[derive(Default)]
pub(super) struct Waiting(Mutex<State>);

enum State {
    Open(HashMap<u64, Place>),
    /// Why nobody can wait any more.
    Lost(TransportError),
}

struct Place {
    answer: oneshot::Sender<Outcome>,
    watch: Option<Arc<Watch>>,
}

impl Default for State {
    fn default() -> Self {
        Self::Open(HashMap::new())
    }
}

impl Waiting {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to wait for an answer, until [`Waiting::forget`].
    ///
    /// # Errors
    /// The link is lost; nothing of this request was sent.
    pub(super) fn expect(
        &self,
        id: u64,
        watch: Option<&Arc<Watch>>,
    ) -> Result<oneshot::Receiver<Outcome>, TransportError> {
        match &mut *self.state() {
            State::Lost(error) => Err(before_sending(error)),
            State::Open(places) => {
                let (answer, receiver) = oneshot::channel();
                places.insert(id, Place { answer, watch: watch.cloned() });
                Ok(receiver)
            }
        }
    }

    pub(super) fn forget(&self, id: u64) {
        if let State::Open(places) = &mut *self.state() {
            places.remove(&id);
        }
    }

    pub(super) fn answer(&self, id: u64, outcome: Outcome) {
        let place = match &mut *self.state() {
            State::Open(places) => places.remove(&id),
            State::Lost(_) => None,
        };
        match place {
            // The receiver may be gone: its caller gave up a moment ago.
            Some(place) => drop(place.answer.send(outcome)),
            None => tracing::trace!(id, "an answer that nobody waits for"),
        }
    }

    /// An answer that is too long, and whose id was not found: rather fail all than let one hang.
    pub(super) fn answer_everyone(&self, fault: &AnswerFault) {
        if let State::Open(places) = &mut *self.state() {
            for (_, place) in places.drain() {
                let _ = place.answer.send(Err(TransportError::Answer(fault.clone())));
            }
        }
    }

    /// Something came that may be a part of anybody's answer.
    pub(super) fn touch(&self) {
        if let State::Open(places) = &*self.state() {
            for watch in places.values().filter_map(|place| place.watch.as_ref()) {
                watch.touch();
            }
        }
    }

    /// Ends the link: whoever waits gets the error, and so does whoever comes later. The first
    /// reason stays. Gives the requests that were waited for.
    pub(super) fn lose(&self, error: TransportError) -> Vec<u64> {
        let mut state = self.state();
        let State::Open(places) = &mut *state else { return Vec::new() };
        let places = std::mem::take(places);
        *state = State::Lost(error.clone());
        drop(state);
        let waited = places.into_iter().map(|(id, place)| {
            let _ = place.answer.send(Err(error.clone()));
            id
        });
        waited.collect()
    }

    /// Why the link is lost, if it is.
    pub(super) fn loss(&self) -> Option<TransportError> {
        match &*self.state() {
            State::Lost(error) => Some(error.clone()),
            State::Open(_) => None,
        }
    }

    /// The same for a request of which nothing was sent.
    pub(super) fn loss_before_sending(&self) -> Option<TransportError> {
        self.loss().map(|error| before_sending(&error))
    }
}

fn before_sending(error: &TransportError) -> TransportError {
    match error {
        TransportError::Lost(cause) => TransportError::Unreachable(cause.clone()),
        error => error.clone(),
    }
}
