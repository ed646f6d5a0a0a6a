//! Work that waits for its client to come back with answers.
//!
//! A `requestState` is a random text that only its client has seen. It is good for one return, of the
//! same caller, to the same profile, with the same method and parameters, within [`TIME`]. All that it
//! stands for stays here, so there is nothing in it to be read or forged.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use indexmap::IndexMap;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Return;
use super::work::Work;
use crate::server::mcp::request::{Params, Request};
use crate::server::random;
use crate::upstream::Caller;

/// How long a client may take over its answers. As long as a question waits for one.
const TIME: Duration = Duration::from_secs(10 * 60);

/// Of one caller. Each may hold a sandbox with all its memory.
const MAX_OF_CALLER: usize = 32;

/// Of all callers together.
const MAX: usize = 1_024;

/// What a return has to have in common with the request that was answered with questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    caller: Caller,
    profile: Option<Arc<str>>,
    request: blake3::Hash,
}

impl Binding {
    pub(super) fn of(request: &Request, profile: Option<Arc<str>>) -> Self {
        let request_digest = digest(&request.method, &request.params);
        Self { caller: request.caller.identity(), profile, request: request_digest }
    }
}

/// Method and parameters without what differs from round to round, whatever the order of members.
fn digest(method: &str, params: &Params) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let mut members: Vec<_> = params.members().iter().collect();
    members.retain(|(name, _)| ![Return::STATE, Return::ANSWERS].contains(&name.as_str()));
    members.sort_by_key(|(name, _)| *name);
    add(&mut hasher, b'm', method.as_bytes());
    for (name, value) in members {
        add(&mut hasher, b'n', name.as_bytes());
        match serde_json::from_str(value.get()) {
            Ok(value) => add_value(&mut hasher, &value),
            // Too deep for a tree; the text has to serve.
            Err(_) => add(&mut hasher, b't', value.get().as_bytes()),
        }
    }
    hasher.finalize()
}

fn add(hasher: &mut blake3::Hasher, kind: u8, bytes: &[u8]) {
    hasher.update(&[kind]).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
}

fn add_value(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::Array(items) => {
            add(hasher, b'a', &items.len().to_le_bytes());
            items.iter().for_each(|item| add_value(hasher, item));
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            add(hasher, b'o', &members.len().to_le_bytes());
            for (name, value) in members {
                add(hasher, b'n', name.as_bytes());
                add_value(hasher, value);
            }
        }
        plain => add(hasher, b'v', plain.to_string().as_bytes()),
    }
}

/// All work that waits. It is cancelled when its client takes too long, and the oldest gives way when
/// there is too much.
pub(in crate::server::mcp) struct Parking<W = Work> {
    /// The oldest first.
    parked: Mutex<IndexMap<String, Parked<W>>>,
    /// How long it waits.
    time: Duration,
}

struct Parked<W> {
    binding: Binding,
    work: W,
    _expiry: AbortOnDropHandle<()>,
}

impl<W> Default for Parking<W> {
    fn default() -> Self {
        Self::with_time(TIME)
    }
}

impl<W> Parking<W> {
    fn with_time(time: Duration) -> Self {
        Self { parked: Mutex::default(), time }
    }
}

impl Parking {
    /// A text that nobody can guess.
    pub(super) fn new_state() -> String {
        BASE64_URL_SAFE_NO_PAD.encode(random::bytes::<32>())
    }
}

impl<W: Send + 'static> Parking<W> {
    /// Keeps work until its client comes back with `state`, takes too long, or is `gone` for good.
    pub(super) fn park(
        self: &Arc<Self>,
        state: String,
        work: W,
        binding: Binding,
        gone: Option<&CancellationToken>,
    ) {
        let expiry = expire(Arc::downgrade(self), self.time, state.clone(), gone.cloned());
        let expiry = AbortOnDropHandle::new(tokio::spawn(expiry));
        let mut parked = self.lock();
        let gives_way = [
            Self::oldest_beyond(&parked, MAX_OF_CALLER, |it| it.binding.caller == binding.caller),
            Self::oldest_beyond(&parked, MAX, |_| true),
        ];
        let mut given_up: Vec<Parked<W>> = Vec::new();
        for state in gives_way.into_iter().flatten() {
            given_up.extend(parked.shift_remove(&state));
        }
        parked.insert(state, Parked { binding, work, _expiry: expiry });
        drop(parked);
        if !given_up.is_empty() {
            tracing::debug!("too many requests wait for answers; the oldest was cancelled");
        }
    }

    /// The oldest of these, if there is no room for one more.
    fn oldest_beyond(
        parked: &IndexMap<String, Parked<W>>,
        max: usize,
        is_one: impl Fn(&Parked<W>) -> bool,
    ) -> Option<String> {
        let mut ones = parked.iter().filter(|(_, it)| is_one(it));
        let oldest = ones.next()?.0;
        (ones.count() + 1 >= max).then(|| oldest.clone())
    }

    /// The work to which a client comes back. It is there for one return only; a return that does not
    /// fit leaves it where it is.
    pub(super) fn take(&self, state: &str, binding: &Binding) -> Option<W> {
        let mut parked = self.lock();
        parked.get(state).filter(|it| it.binding == *binding)?;
        parked.shift_remove(state).map(|it| it.work)
    }

    fn lock(&self) -> MutexGuard<'_, IndexMap<String, Parked<W>>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cancels work whose client does not come back.
async fn expire<W: Send + 'static>(
    parking: Weak<Parking<W>>,
    time: Duration,
    state: String,
    gone: Option<CancellationToken>,
) {
    let gone = async {
        match gone {
            Some(gone) => gone.cancelled().await,
            None => std::future::pending().await,
        }
    };
    let _ = tokio::time::timeout(time, gone).await;
    let Some(parking) = parking.upgrade() else { return };
    let expired = parking.lock().shift_remove(&state);
    if expired.is_some() {
        tracing::debug!("a client did not come back to answer; its request was cancelled");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    fn binding(caller: &str, params: &Value) -> Binding {
        let params = Params::read(Some(&to_raw_value(params).unwrap())).unwrap();
        Binding {
            caller: Caller { id: Some(caller.into()), token: None },
            profile: None,
            request: digest("tools/call", &params),
        }
    }

    fn call(tool: &str) -> Value {
        json!({ "name": tool, "arguments": { "a": 1, "b": [2] } })
    }

    #[tokio::test]
    async fn work_is_found_by_its_own_state_caller_and_request_and_only_once() {
        let parking = Arc::new(Parking::<u32>::default());
        let (state, mine) = (Parking::new_state(), binding("ada", &call("t")));
        parking.park(state.clone(), 7, mine.clone(), None);
        let tampered = format!("{state}-TAMPERED");
        for (state, binding) in [
            (&tampered, mine.clone()),
            (&Parking::new_state(), mine.clone()),
            (&String::new(), mine.clone()),
            (&state, binding("eve", &call("t"))),
            (&state, binding("ada", &call("other"))),
            (&state, binding("ada", &json!({ "name": "t", "arguments": {} }))),
            (&state, Binding { profile: Some("other".into()), ..mine.clone() }),
        ] {
            assert_eq!(parking.take(state, &binding), None);
        }
        assert_eq!(parking.take(&state, &mine), Some(7));
        assert_eq!(parking.take(&state, &mine), None, "replayed");
    }

    #[test]
    fn a_return_is_the_same_request_however_it_is_written() {
        let again = json!({
            "arguments": { "b": [2], "a": 1 }, "name": "t", "requestState": "s",
            "inputResponses": { "k": {} }, "_meta": { "progressToken": 5 },
        });
        assert_eq!(binding("ada", &again), binding("ada", &call("t")));
        let other = json!({ "name": "t", "arguments": { "a": 1, "b": ["2"] } });
        assert_ne!(binding("ada", &other), binding("ada", &call("t")));
    }

    /// Waits until nobody else has it.
    async fn dropped(work: &Arc<()>) {
        let alone = async {
            while Arc::strong_count(work) > 1 {
                tokio::task::yield_now().await;
            }
        };
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, alone).await.expect("the work was not cancelled");
    }

    #[tokio::test]
    async fn who_does_not_come_back_in_time_finds_nothing() {
        let parking = Arc::new(Parking::with_time(Duration::from_millis(20)));
        let (state, mine, work) = (Parking::new_state(), binding("a", &call("t")), Arc::new(()));
        parking.park(state.clone(), Arc::clone(&work), mine.clone(), None);
        dropped(&work).await;
        assert_eq!(parking.take(&state, &mine), None);
    }

    #[tokio::test]
    async fn nobody_is_waited_for_who_cannot_come_back() {
        let parking = Arc::new(Parking::default());
        let (mine, work, gone) = (binding("a", &call("t")), Arc::new(()), CancellationToken::new());
        parking.park(Parking::new_state(), Arc::clone(&work), mine, Some(&gone));
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&work), 2);
        gone.cancel();
        dropped(&work).await;
    }

    #[tokio::test]
    async fn ten_thousand_questions_do_not_pile_up() {
        let parking = Arc::new(Parking::<u32>::default());
        let other = (Parking::new_state(), binding("patient", &call("t")));
        parking.park(other.0.clone(), 1, other.1.clone(), None);
        let mut states = Vec::new();
        for number in 0..10_000 {
            states.push(Parking::new_state());
            let state = states[number as usize].clone();
            parking.park(state, number, binding("busy", &call("t")), None);
        }
        assert_eq!(parking.lock().len(), MAX_OF_CALLER + 1);
        assert_eq!(parking.take(&other.0, &other.1), Some(1), "others are not touched");
        let busy = binding("busy", &call("t"));
        assert_eq!(parking.take(&states[0], &busy), None, "the oldest gave way");
        assert_eq!(parking.take(&states[9_999], &busy), Some(9_999));
        for number in 0..10_000 {
            let caller = number.to_string();
            parking.park(Parking::new_state(), number, binding(&caller, &call("t")), None);
        }
        assert_eq!(parking.lock().len(), MAX);
    }
}
