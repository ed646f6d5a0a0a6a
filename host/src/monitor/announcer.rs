//! Hears of changes, decides who is told of them, and keeps the report.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use super::alert::{Alert, AlertEvent};
use super::damping::{Damper, Verdict};
use super::delivery::Channels;
use super::probes::Watched;
use super::report::{IsoTime, MonitorReport, ServerReport, TransitionReport};
use crate::ids::UpstreamName;
use crate::upstream::{Health, HealthMark, ServerState, Transition, Upstreams};

/// How often the report is written while nothing changes.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);

/// Alerts that a slow reader in this process may be behind.
pub(super) const BACKLOG: usize = 256;

/// What announcing and reporting have in common.
pub(super) struct Shared {
    pub(super) upstreams: Upstreams,
    pub(super) watched: Watched,
    pub(super) config: Option<PathBuf>,
    pub(super) started: IsoTime,
    pub(super) channels: Mutex<Channels>,
    pub(super) alerts: broadcast::Sender<Alert>,
    pub(super) ledger: Mutex<Ledger>,
    pub(super) changed: Notify,
}

/// What is remembered of the servers beyond their health.
#[derive(Default)]
pub(super) struct Ledger {
    dampers: HashMap<UpstreamName, Damper>,
    /// What the monitor before this one knew, of servers that were not asked yet.
    before: HashMap<String, (ServerState, SystemTime)>,
    /// Since when servers are as they are that have not changed since the monitor before this one.
    resumed: HashMap<UpstreamName, SystemTime>,
    past: VecDeque<TransitionReport>,
}

impl Ledger {
    /// Goes on where another monitor ended.
    pub(super) fn resume(report: MonitorReport) -> Self {
        let known = report.servers.into_iter().filter(|it| it.state != ServerState::Unknown);
        let before = known.map(|it| (it.server, (it.state, it.since.0))).collect();
        let skip = report.transitions.len().saturating_sub(Health::KEPT_TRANSITIONS);
        let past = report.transitions.into_iter().skip(skip).collect();
        Self { before, past, ..Self::default() }
    }

    /// A change as it is for those who know what the monitor before this one said; nothing if it is
    /// none for them.
    fn since_before(&mut self, mut transition: Transition) -> Option<Transition> {
        self.resumed.remove(&transition.server);
        let (state, since) = match self.before.remove(transition.server.as_str()) {
            Some(before) if transition.from == ServerState::Unknown => before,
            _ => return Some(transition),
        };
        if state == transition.to {
            self.resumed.insert(transition.server, since);
            return None;
        }
        transition.from = state;
        transition.lasted = transition.since.duration_since(since).unwrap_or_default();
        Some(transition)
    }

    /// What to tell of a change.
    fn judge(&mut self, transition: &Transition, now: Instant) -> Option<Alert> {
        let mut alert = Alert::of(transition);
        if !alert.is_news() {
            return Some(alert);
        }
        match self.dampers.entry(transition.server.clone()).or_default().change(now) {
            Verdict::Tell => {}
            Verdict::TellFlapping => alert.event = AlertEvent::Flapping,
            Verdict::Silence => return None,
        }
        Some(alert)
    }

    fn keep(&mut self, transition: &Transition) {
        if self.past.len() >= Health::KEPT_TRANSITIONS {
            self.past.pop_front();
        }
        self.past.push_back(transition.into());
    }

    /// The next moment at which a flapping server may have settled.
    fn settles_at(&self) -> Option<Instant> {
        self.dampers.values().filter_map(Damper::settles_at).min()
    }

    /// The servers that have settled, and the changes that nobody was told.
    fn settled(&mut self, now: Instant) -> Vec<(UpstreamName, u64)> {
        let settled = self.dampers.iter_mut();
        settled.filter_map(|(server, damper)| Some((server.clone(), damper.settle(now)?))).collect()
    }
}

/// Tells of changes until it is stopped, and then of those that came before.
pub(super) async fn announce(
    shared: Arc<Shared>,
    mut begin: HealthMark,
    mut transitions: broadcast::Receiver<Transition>,
    stop: CancellationToken,
) {
    loop {
        let settles_at = shared.ledger().settles_at();
        let settling = async {
            match settles_at {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let is_over = tokio::select! {
            // Whatever it says, the book knows more: also what a slow listener misses.
            received = transitions.recv() => matches!(received, Err(RecvError::Closed)),
            () = settling => {
                shared.hear_of_settled();
                false
            }
            () = stop.cancelled() => true,
        };
        for transition in shared.upstreams.health().news(&mut begin) {
            shared.hear(transition);
        }
        if is_over {
            return;
        }
    }
}

impl Shared {
    fn hear(&self, transition: Transition) {
        if !self.watched.contains(&transition.server) {
            return;
        }
        let alert = {
            let mut ledger = self.ledger();
            let Some(transition) = ledger.since_before(transition) else {
                self.changed.notify_one();
                return;
            };
            ledger.keep(&transition);
            let alert = ledger.judge(&transition, Instant::now());
            if alert.is_none() {
                let Transition { server, from, to, .. } = &transition;
                tracing::debug!(%server, from = from.name(), to = to.name(), "it flaps");
            }
            alert
        };
        if let Some(alert) = alert {
            self.tell(&alert);
        }
        self.changed.notify_one();
    }

    fn hear_of_settled(&self) {
        let settled = self.ledger().settled(Instant::now());
        for (server, untold_changes) in settled {
            let Some(health) = self.upstreams.health().of(&server) else { continue };
            self.tell(&Alert {
                event: AlertEvent::Settled,
                server,
                from: health.state,
                to: health.state,
                at: SystemTime::now(),
                since: health.since,
                lasted: health.since.elapsed().unwrap_or_default(),
                cause: health.last_error.filter(|_| health.state == ServerState::Down),
                untold_changes,
            });
        }
        self.changed.notify_one();
    }

    fn tell(&self, alert: &Alert) {
        alert.log();
        if alert.is_news() {
            self.channels.lock().unwrap_or_else(PoisonError::into_inner).send(alert);
        }
        // Nobody has to listen.
        let _ = self.alerts.send(alert.clone());
    }

    /// What is known now.
    pub(super) fn report(&self, ended: bool) -> MonitorReport {
        let ledger = self.ledger();
        let intervals: HashMap<_, _> = self.upstreams.probe_intervals().into_iter().collect();
        let open: HashMap<_, _> = self.upstreams.open_connections().into_iter().collect();
        let servers = self.upstreams.health().snapshot().into_iter();
        let servers = servers.filter(|health| self.watched.contains(&health.server));
        let servers = servers.map(|health| {
            let since = ledger.resumed.get(&health.server).copied().unwrap_or(health.since);
            ServerReport {
                state: health.state,
                since: IsoTime(since),
                last_answer: health.last_answer.map(IsoTime),
                last_asked: health.last_asked.map(IsoTime),
                last_error: health.last_error.as_deref().map(ToOwned::to_owned),
                failures: health.failures,
                flapping: ledger.dampers.get(&health.server).is_some_and(Damper::is_flapping),
                interval_ms: intervals.get(&health.server).map(|it| milliseconds(*it)),
                unprobed: health.unprobed.map(ToOwned::to_owned),
                open_connections: open.get(&health.server).copied().unwrap_or(0),
                server: health.server.to_string(),
            }
        });
        MonitorReport {
            version: MonitorReport::VERSION,
            pid: std::process::id(),
            started: self.started,
            written: IsoTime::now(),
            heartbeat_ms: milliseconds(HEARTBEAT),
            ended: ended.then(IsoTime::now),
            config: self.config.clone(),
            servers: servers.collect(),
            transitions: ledger.past.iter().cloned().collect(),
            alerts: self.channels.lock().unwrap_or_else(PoisonError::into_inner).reports(),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the file up to date: at each change, and now and then so that readers see that we live.
pub(super) async fn keep_report(shared: Arc<Shared>, file: PathBuf) {
    loop {
        write_report(&shared, &file, false).await;
        let _ = tokio::time::timeout(HEARTBEAT, shared.changed.notified()).await;
    }
}

pub(super) async fn write_report(shared: &Shared, file: &Path, ended: bool) {
    let report = shared.report(ended);
    let path = file.to_owned();
    // A slow disk must not hold up a thread on which servers are probed.
    let written = tokio::task::spawn_blocking(move || report.write(&path)).await;
    let error = match written {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(file = %file.display(), error, "the monitor's report cannot be written");
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
