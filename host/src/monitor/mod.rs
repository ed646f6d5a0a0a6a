//! Watches the servers from outside of any run, and tells people when one goes down or comes back.
//!
//! [`Monitor::start`] probes every server at its own interval, 60 s by default, whether or not
//! anybody calls it, and hears what calls see meanwhile. It stops when its handle is dropped.
//!
//! - `probes` asks, at the times that `schedule` says; one question at a time for each server.
//! - `announcer` hears of changes and tells each once: in the log, to [`Monitor::alerts`], and to the
//!   receivers of `delivery`, which are webhooks and a `command`. None of them is waited for.
//! - `damping` decides when a server that flaps is not worth a word.
//! - [`MonitorReport`] (`report`) is the file that `toolcell status` reads.
//!
//! How servers are is not kept here but in [`crate::upstream::Health`], where calls put it too.

mod alert;
mod announcer;
mod command;
mod damping;
mod delivery;
mod probes;
mod report;
mod schedule;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use alert::{Alert, AlertEvent, Rough};
pub use delivery::ChannelReport;
pub use report::{
    IsoTime, MonitorReport, NoReport, ServerReport, TransitionReport, default_state_file,
};

use crate::config::MonitorSettings;
use crate::ids::UpstreamName;
use crate::upstream::Upstreams;
use announcer::{Ledger, Shared};
use delivery::Channels;
use probes::Watched;

/// A monitor at work. Dropping it ends it at once, with the probes and alerts under way;
/// [`Monitor::stop`] does it in good order.
pub struct Monitor {
    shared: Arc<Shared>,
    watched: Watched,
    state_file: Option<PathBuf>,
    stop: CancellationToken,
    announcer: AbortOnDropHandle<()>,
    reporter: Option<AbortOnDropHandle<()>>,
    prober: Option<AbortOnDropHandle<()>>,
}

/// What a monitor watches, beside its settings.
#[derive(Clone, Debug, Default)]
pub struct MonitorScope {
    /// Only these servers; all without it.
    pub servers: Option<Vec<UpstreamName>>,
    /// The configuration that names them, for the report.
    pub config: Option<PathBuf>,
}

impl Monitor {
    /// Starts to watch. If there is a report in the settings' `state_file` already, it goes on from
    /// there: what was told before is not told again.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(upstreams: &Upstreams, settings: &MonitorSettings, scope: MonitorScope) -> Self {
        let mut monitor = Self::idle(upstreams, settings, scope);
        let watch = probes::watch(upstreams.clone(), monitor.watched.clone());
        monitor.prober = Some(AbortOnDropHandle::new(tokio::spawn(watch)));
        if let Some(file) = &monitor.state_file {
            let keep = announcer::keep_report(Arc::clone(&monitor.shared), file.clone());
            monitor.reporter = Some(AbortOnDropHandle::new(tokio::spawn(keep)));
        }
        monitor
    }

    /// As [`Monitor::start`], but probes only when [`Monitor::probe_once`] is called, and writes its
    /// report only when it is stopped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn idle(upstreams: &Upstreams, settings: &MonitorSettings, scope: MonitorScope) -> Self {
        let watched = Watched(scope.servers);
        let before = settings.state_file.as_deref().map(MonitorReport::read);
        let ledger = match before {
            Some(Ok(report)) => Ledger::resume(report),
            Some(Err(NoReport::Missing(_))) | None => Ledger::default(),
            Some(Err(error)) => {
                tracing::warn!(%error, "the monitor begins anew");
                Ledger::default()
            }
        };
        let (begin, transitions) = (upstreams.health().mark(), upstreams.health().transitions());
        let shared = Arc::new(Shared {
            upstreams: upstreams.clone(),
            watched: watched.clone(),
            config: scope.config,
            started: IsoTime::now(),
            channels: Mutex::new(Channels::start(settings)),
            alerts: broadcast::Sender::new(announcer::BACKLOG),
            ledger: Mutex::new(ledger),
            changed: Notify::new(),
        });
        let stop = CancellationToken::new();
        let announce = announcer::announce(Arc::clone(&shared), begin, transitions, stop.clone());
        Self {
            shared,
            watched,
            state_file: settings.state_file.clone(),
            stop,
            announcer: AbortOnDropHandle::new(tokio::spawn(announce)),
            reporter: None,
            prober: None,
        }
    }

    /// Probes each server once, and again those that fail, until it is certain how they are.
    pub async fn probe_once(&self) {
        probes::round(&self.shared.upstreams, &self.watched).await;
    }

    /// Told of each alert from now on, and of servers that are seen up for the first time
    /// ([`Alert::is_news`] tells these apart).
    pub fn alerts(&self) -> broadcast::Receiver<Alert> {
        self.shared.alerts.subscribe()
    }

    /// What is known now.
    pub fn report(&self) -> MonitorReport {
        self.shared.report(false)
    }

    /// Probes no more, waits `patience` for alerts that are on their way, and writes the last report.
    pub async fn stop(mut self, patience: Duration) {
        self.prober = None;
        self.stop.cancel();
        let _ = (&mut self.announcer).await;
        let mut channels = {
            let mut channels = self.shared.channels.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *channels)
        };
        channels.finish(patience).await;
        *self.shared.channels.lock().unwrap_or_else(PoisonError::into_inner) = channels;
        self.reporter = None;
        if let Some(file) = &self.state_file {
            announcer::write_report(&self.shared, file, true).await;
        }
    }
}
