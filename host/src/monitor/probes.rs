//! Asks every server at its interval, whether or not anybody calls it.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::schedule::Schedule;
use crate::ids::UpstreamName;
use crate::upstream::{ServerState, Upstreams};

/// How often is looked whether servers came or went, or are to be probed at another interval.
const LOOK_FOR_CHANGES: Duration = Duration::from_secs(2);

/// Which servers are watched.
#[derive(Clone, Debug, Default)]
pub(super) struct Watched(pub(super) Option<Vec<UpstreamName>>);

impl Watched {
    pub(super) fn contains(&self, server: &UpstreamName) -> bool {
        self.0.as_ref().is_none_or(|servers| servers.contains(server))
    }

    fn schedules(&self, upstreams: &Upstreams) -> HashMap<UpstreamName, Schedule> {
        let down_after = upstreams.health().down_after();
        let intervals = upstreams.probe_intervals().into_iter();
        let watched = intervals.filter(|(server, _)| self.contains(server));
        watched.map(|(server, interval)| (server, Schedule::new(interval, down_after))).collect()
    }
}

/// Probes for ever. Dropped, it drops the probes under way.
pub(super) async fn watch(upstreams: Upstreams, watched: Watched) {
    let mut watchers = HashMap::<UpstreamName, (Schedule, AbortOnDropHandle<()>)>::new();
    loop {
        let schedules = watched.schedules(&upstreams);
        watchers.retain(|server, (schedule, _)| schedules.get(server) == Some(schedule));
        for (server, schedule) in schedules {
            watchers.entry(server.clone()).or_insert_with(|| {
                let watcher = watch_one(upstreams.clone(), server, schedule);
                (schedule, AbortOnDropHandle::new(tokio::spawn(watcher)))
            });
        }
        sleep(LOOK_FOR_CHANGES).await;
    }
}

/// One probe at a time: the next one begins when the last has ended.
async fn watch_one(upstreams: Upstreams, server: UpstreamName, schedule: Schedule) {
    sleep(schedule.first(chance())).await;
    loop {
        let next = Instant::now() + schedule.next(chance());
        probe(&upstreams, &server, schedule).await;
        sleep_until(next).await;
    }
}

/// Probes each server once.
pub(super) async fn round(upstreams: &Upstreams, watched: &Watched) {
    let schedules = watched.schedules(upstreams);
    join_all(schedules.iter().map(|(server, schedule)| probe(upstreams, server, *schedule))).await;
}

/// Asks a server. If it fails it is asked again at once, until it is certain how it is.
async fn probe(upstreams: &Upstreams, server: &UpstreamName, schedule: Schedule) {
    let health = upstreams.health();
    let is_down = || health.of(server).is_none_or(|it| it.state == ServerState::Down);
    for _ in 0..health.down_after() {
        match upstreams.probe(server, schedule.deadline()).await {
            Some(Err(_)) if !is_down() => sleep(schedule.pause()).await,
            _ => return,
        }
    }
}

/// A number from 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without entropy all servers are probed in step, which harms nobody.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
