//! Asks whoever called.

use schemars::JsonSchema;
use serde::Deserialize;
use toolcell::CallError;
use toolcell::asks::{self, Elicited};

/// Where to go.
#[derive(Deserialize, JsonSchema)]
struct Trip {
    /// The city.
    city: String,
    /// For how long.
    days: Option<u8>,
}

/// Asks the person.
#[toolcell::tool]
async fn ask(message: String) -> Result<String, CallError> {
    Ok(match asks::elicit::<Trip>(&message).await? {
        Elicited::Accepted(trip) => {
            format!("{} for {} days", trip.city, trip.days.unwrap_or(1))
        }
        Elicited::Declined => "declined".to_owned(),
        Elicited::Cancelled => "cancelled".to_owned(),
    })
}

/// Asks the model.
#[toolcell::tool]
async fn think(prompt: String) -> Result<String, CallError> {
    asks::model(&prompt).await
}

/// Who could be asked.
#[toolcell::tool]
fn able() -> String {
    let able = asks::abilities();
    format!("person: {}, model: {}", able.elicitation, able.sampling)
}

toolcell::plugin!(ask, think, able);
