//! Carries alerts to webhooks and commands: each has a queue and a worker of its own, so that one
//! that hangs holds up neither the others nor the probes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::alert::Alert;
use super::command;
use crate::config::MonitorSettings;
use crate::upstream::Webhook;

/// Alerts that wait for one receiver. More are dropped, and the log says so.
const QUEUE: usize = 256;

/// How often one alert is posted.
const ATTEMPTS: u32 = 3;

/// Before the second attempt; twice as long before the third.
const PAUSE: Duration = Duration::from_secs(1);

/// A receiver of alerts, and what became of those for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelReport {
    /// `webhook ORIGIN` or `command PROGRAM`; what follows may be a credential.
    pub channel: String,
    /// Alerts that arrived.
    pub delivered: u64,
    /// Alerts that did not.
    pub failed: u64,
    /// Why the last of those did not.
    pub last_error: Option<String>,
}

enum Receiver {
    Webhook(Webhook),
    Command(Vec<String>),
}

struct Channel {
    queue: mpsc::Sender<Alert>,
    worker: AbortOnDropHandle<()>,
    report: Arc<Mutex<ChannelReport>>,
}

/// All receivers. Dropped, it gives up what is not delivered yet.
#[derive(Default)]
pub(super) struct Channels {
    channels: Vec<Channel>,
}

impl Channels {
    /// Starts the workers. A receiver that cannot be used is told of in the log.
    pub(super) fn start(settings: &MonitorSettings) -> Self {
        let webhooks = settings.webhooks.iter().filter_map(|url| match Webhook::new(url) {
            Ok(webhook) => Some(Receiver::Webhook(webhook)),
            Err(error) => {
                tracing::error!(%error, "alerts cannot be posted");
                None
            }
        });
        let command = settings.command.clone().map(Receiver::Command);
        let receivers = webhooks.chain(command);
        Self { channels: receivers.map(|receiver| Channel::start(receiver, settings)).collect() }
    }

    /// Puts an alert into all queues. Never waits.
    pub(super) fn send(&self, alert: &Alert) {
        for channel in &self.channels {
            if channel.queue.try_send(alert.clone()).is_err() {
                channel.note(Err("too many alerts wait for it"));
            }
        }
    }

    pub(super) fn reports(&self) -> Vec<ChannelReport> {
        let reports = self.channels.iter().map(|channel| lock(&channel.report).clone());
        reports.collect()
    }

    /// Waits until what was sent has arrived, or failed, or the time is over.
    pub(super) async fn finish(&mut self, within: Duration) {
        let workers = self.channels.iter_mut().map(|channel| {
            // A closed queue: its worker ends when it is empty.
            channel.queue = mpsc::channel(1).0;
            &mut channel.worker
        });
        let all = futures::future::join_all(workers);
        if tokio::time::timeout(within, all).await.is_err() {
            tracing::warn!("the monitor ends before all alerts are delivered");
        }
    }
}

impl Channel {
    fn start(receiver: Receiver, settings: &MonitorSettings) -> Self {
        let (queue, mut alerts) = mpsc::channel::<Alert>(QUEUE);
        let report = ChannelReport { channel: receiver.name(), ..ChannelReport::default() };
        let report = Arc::new(Mutex::new(report));
        let within = settings.timeout;
        let of_worker = Arc::clone(&report);
        let worker = tokio::spawn(async move {
            while let Some(alert) = alerts.recv().await {
                let outcome = receiver.deliver(&alert, within).await;
                note(&of_worker, outcome.as_ref().copied().map_err(String::as_str));
            }
        });
        Self { queue, worker: AbortOnDropHandle::new(worker), report }
    }

    fn note(&self, outcome: Result<(), &str>) {
        note(&self.report, outcome);
    }
}

fn note(report: &Mutex<ChannelReport>, outcome: Result<(), &str>) {
    let mut report = lock(report);
    match outcome {
        Ok(()) => report.delivered += 1,
        Err(error) => {
            report.failed += 1;
            report.last_error = Some(error.to_owned());
            tracing::error!(channel = report.channel, error, "an alert was not delivered");
        }
    }
}

impl Receiver {
    fn name(&self) -> String {
        match self {
            Self::Webhook(webhook) => format!("webhook {}", webhook.origin()),
            Self::Command(command) => {
                format!("command {}", command.first().map_or("", String::as_str))
            }
        }
    }

    async fn deliver(&self, alert: &Alert, within: Duration) -> Result<(), String> {
        let webhook = match self {
            // It may have done half of its work, so it is started once.
            Self::Command(command) => return command::run(command, alert, within).await,
            Self::Webhook(webhook) => webhook,
        };
        let body = alert.to_json();
        let mut attempt = 1;
        loop {
            let error = match webhook.post(&body, within).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if attempt >= ATTEMPTS || !error.is_passing {
                return Err(format!("{error} (attempt {attempt} of {ATTEMPTS})"));
            }
            tokio::time::sleep(PAUSE * (1 << (attempt - 1))).await;
            attempt += 1;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
