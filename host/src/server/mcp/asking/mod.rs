//! Has the client's user answer what servers ask while they work on a request of that client:
//! elicitation, sampling, roots. Either side may speak either era of the protocol.
//!
//! - A legacy client is asked at once, by a request of our own (`live`).
//! - A modern client is never sent requests. What it asked for is answered with the questions
//!   (`input_required`), and the work waits (`parked`) until the client sends the same request again,
//!   with the answers and our `requestState`. `board` holds the questions of one such work.
//! - How the questions reach us from a server of either era is [`crate::upstream`]'s matter.
//!
//! Questions are text from strangers (`question`): bounded in size and number, asked only of clients
//! that said they can answer, and an elicitation's message names the server that wants to know,
//! because a client shows its user only that toolcell asks. A prompt for sampling passes as it is: the
//! name would change what the model says.

mod board;
mod live;
mod parked;
mod question;
mod relay;
mod work;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use indexmap::IndexMap;
use serde_json::value::RawValue;

pub(super) use parked::Parking;
pub(in crate::server) use relay::Relay;

use self::live::Live;
use self::parked::Binding;
use self::work::Work;
use super::Facade;
use super::request::{Outcome, Params, Request};
use super::wire::RpcError;
use crate::tool::Json;
use crate::upstream::{ClientCapabilities, ClientHandler, Refusal, ServerRequest};

/// How long further questions are waited for once there is one: a script's concurrent calls ask at
/// about the same time, and each round costs the client a request.
const GATHERING: Duration = Duration::from_millis(20);

/// The handler of a host whose calls are made for clients of its façade.
///
/// Servers of the legacy era are told once, at the handshake, what can be asked, and their
/// connections are shared; so they are told what any client may be able to do. Each call then brings
/// its own client's handler, and what that one cannot do is refused. Outside of any call nobody is
/// there.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForClients;

#[async_trait]
impl ClientHandler for ForClients {
    fn capabilities(&self) -> ClientCapabilities {
        ClientCapabilities {
            roots: true,
            sampling: true,
            // Few clients have it, and servers that are not offered it can do without.
            sampling_tools: false,
            elicitation: true,
            elicitation_url: true,
        }
    }

    async fn answer(&self, request: ServerRequest) -> Result<Json, Refusal> {
        if request.method == "roots/list" {
            return Ok(RawValue::from_string(r#"{"roots":[]}"#.to_owned()).unwrap_or_default());
        }
        Err(Refusal::nobody(&request.method))
    }
}

/// A client that can be asked nothing.
pub(super) struct Nobody;

#[async_trait]
impl ClientHandler for Nobody {
    fn capabilities(&self) -> ClientCapabilities {
        ClientCapabilities::default()
    }

    async fn answer(&self, request: ServerRequest) -> Result<Json, Refusal> {
        Err(Refusal::nobody(&request.method))
    }
}

impl Facade {
    /// Does the work of a request of which questions may come: `tools/call`, `prompts/get` and
    /// `resources/read`. The work gets the request back with a
    /// [`handler`](Request::handler) that reaches its client, to go along with every call upstream.
    ///
    /// For a modern client the work goes on in a worker of its own, which outlives the request when it
    /// is answered with questions; when the request is cancelled or dropped before that, so is the
    /// work. Of a request that is a client's return with answers the work is not begun again.
    pub(in crate::server) async fn with_questions<W, F>(
        &self,
        mut request: Request,
        work: W,
    ) -> Outcome
    where
        W: FnOnce(Request) -> F,
        F: Future<Output = Outcome> + Send + 'static,
    {
        if !request.client.is_modern() {
            request.handler =
                Arc::new(Live::new(request.exchange.clone(), request.client.capabilities));
            return work(request).await;
        }
        let Return { state, answers } = Return::read(&request.params)?;
        let binding = Binding::of(&request, self.profile.clone());
        let cancel = request.cancel.clone();
        let peer = Arc::clone(&request.exchange.peer);
        let under_way = match state {
            Some(state) => {
                let parked = self.shared.parking.take(&state, &binding);
                let under_way = parked.ok_or_else(unknown_state)?;
                under_way.resume(&request, answers);
                under_way
            }
            None if request.client.capabilities == ClientCapabilities::default() => {
                return work(request).await;
            }
            None => Work::begin(request, answers, work),
        };
        let Some(round) = under_way.round(&cancel).await else {
            return Err(RpcError::new(RpcError::INTERNAL, "the request was cancelled"));
        };
        match round {
            work::Round::Done(outcome) => outcome,
            work::Round::Asks(work) => {
                let park = |state: &str| work.board().as_result(state);
                let state = Parking::new_state();
                let result = park(&state);
                self.shared.parking.park(state, *work, binding, peer.gone_for_good());
                Ok(result)
            }
        }
    }
}

/// What makes a request a client's return with answers.
struct Return {
    state: Option<String>,
    answers: IndexMap<String, Json>,
}

impl Return {
    const STATE: &str = "requestState";
    const ANSWERS: &str = "inputResponses";

    fn read(params: &Params) -> Result<Self, RpcError> {
        let answers = params.get(Self::ANSWERS)?.unwrap_or_default();
        Ok(Self { state: params.get(Self::STATE)?, answers })
    }
}

/// The same words whether it is forged, somebody else's, used, or too old: whoever guesses learns
/// nothing.
fn unknown_state() -> RpcError {
    RpcError::invalid_params(
        "this `requestState` belongs to no request that waits for you: it was changed, used before, \
         came with another method or other parameters, or is too old; send the request again \
         without `requestState` and `inputResponses`",
    )
}
