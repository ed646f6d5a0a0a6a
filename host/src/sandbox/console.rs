//! What a run printed: kept in order, bounded, and passed on while it happens.

use std::collections::VecDeque;
use std::fmt::Write as _;

use tokio::sync::mpsc;

use crate::events::{RunEvent, Stream};
use crate::limits::{LimitKind, LimitReached, Limits};

/// Keeps the first and the last part of what both streams carry, `limit` bytes together, and stops
/// a run that writes [`Limits::OUTPUT_FLOOD_FACTOR`] times as much.
#[derive(Debug)]
pub(super) struct Console {
    limit: u64,
    written: u64,
    head: Kept,
    tail: Kept,
    dropped_stdout: u64,
    dropped_stderr: u64,
    live: Option<mpsc::Sender<RunEvent>>,
}

impl Console {
    pub(super) fn new(limit: u64, live: Option<mpsc::Sender<RunEvent>>) -> Self {
        Self {
            limit,
            written: 0,
            head: Kept::default(),
            tail: Kept::default(),
            dropped_stdout: 0,
            dropped_stderr: 0,
            live,
        }
    }

    /// Takes a piece. The returned sender, if any, has to be given the piece: sending may wait for
    /// a slow reader, and that wait is the caller's.
    ///
    /// # Errors
    /// The run wrote more than the hard bound; the guest has to be stopped.
    pub(super) fn write(
        &mut self,
        to: Stream,
        bytes: &[u8],
    ) -> Result<Option<mpsc::Sender<RunEvent>>, LimitReached> {
        self.allow(bytes.len() as u64)?;
        self.written += bytes.len() as u64;
        self.keep(to, bytes);
        Ok(self.live.clone())
    }

    /// Counts bytes of which nothing is kept. The returned sender is as in [`Console::write`].
    ///
    /// # Errors
    /// As [`Console::write`].
    pub(super) fn charge(
        &mut self,
        bytes: u64,
    ) -> Result<Option<mpsc::Sender<RunEvent>>, LimitReached> {
        self.allow(bytes)?;
        self.written += bytes;
        Ok(self.live.clone())
    }

    /// Whether so many bytes may be written now.
    ///
    /// # Errors
    /// The run would pass the hard bound; the guest has to be stopped.
    pub(super) fn allow(&self, bytes: u64) -> Result<(), LimitReached> {
        let limit = self.limit.saturating_mul(Limits::OUTPUT_FLOOD_FACTOR);
        let used = self.written.saturating_add(bytes);
        if used > limit {
            return Err(LimitReached { kind: LimitKind::Output, limit, used });
        }
        Ok(())
    }

    /// Where pieces are passed on to while the run goes on, if anybody reads.
    pub(super) fn live(&self) -> Option<mpsc::Sender<RunEvent>> {
        self.live.clone()
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    fn keep(&mut self, to: Stream, bytes: &[u8]) {
        let head_room = (self.limit / 2).saturating_sub(self.head.len);
        let (first, rest) = bytes.split_at(bytes.len().min(as_usize(head_room)));
        self.head.push(to, first);
        self.tail.push(to, rest);
        let tail_limit = self.limit - self.limit / 2;
        while self.tail.len > tail_limit {
            match self.tail.drop_oldest(self.tail.len - tail_limit) {
                Some((Stream::Stdout, count)) => self.dropped_stdout += count,
                Some((Stream::Stderr, count)) => self.dropped_stderr += count,
                None => break,
            }
        }
    }

    /// One stream's kept text, with a marker where bytes were dropped. Bytes that are not UTF-8
    /// are shown as U+FFFD.
    pub(super) fn text(&self, of: Stream) -> String {
        let (mut head, tail) = (self.head.bytes(of), self.tail.bytes(of));
        let dropped = match of {
            Stream::Stdout => self.dropped_stdout,
            Stream::Stderr => self.dropped_stderr,
        };
        if dropped == 0 {
            head.extend(tail);
            return String::from_utf8_lossy(&head).into_owned();
        }
        let mut text = String::from_utf8_lossy(without_cut_character(&head)).into_owned();
        let _ = write!(text, "\n[... {dropped} bytes of output were not kept ...]\n");
        let continuation = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
        let cut = tail.iter().take(3).take_while(continuation).count();
        text.push_str(&String::from_utf8_lossy(&tail[cut..]));
        text
    }
}

/// Output in order. Which bytes are whose is kept as runs, and all bytes in one piece: a guest that
/// writes to both streams by turns, byte by byte, costs 17 bytes for each and no allocation.
#[derive(Debug, Default)]
struct Kept {
    bytes: VecDeque<u8>,
    runs: VecDeque<(Stream, usize)>,
    len: u64,
}

impl Kept {
    fn push(&mut self, to: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len() as u64;
        match self.runs.back_mut() {
            Some((stream, run)) if *stream == to => *run += bytes.len(),
            _ => self.runs.push_back((to, bytes.len())),
        }
        self.bytes.extend(bytes);
    }

    /// Drops at most `count` bytes, all of the oldest run's stream, and says whose and how many.
    fn drop_oldest(&mut self, count: u64) -> Option<(Stream, u64)> {
        let (stream, run) = self.runs.front_mut()?;
        let stream = *stream;
        let count = (*run).min(as_usize(count));
        *run -= count;
        if *run == 0 {
            self.runs.pop_front();
        }
        self.bytes.drain(..count);
        self.len -= count as u64;
        Some((stream, count as u64))
    }

    fn bytes(&self, of: Stream) -> Vec<u8> {
        let mut of_stream = Vec::new();
        let mut start = 0;
        for (stream, run) in &self.runs {
            if *stream == of {
                of_stream.extend(self.bytes.range(start..start + run));
            }
            start += run;
        }
        of_stream
    }
}

fn as_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Leaves out a character of which only the first bytes are there.
fn without_cut_character(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(console: &mut Console, to: Stream, text: &str) -> Result<(), LimitReached> {
        console.write(to, text.as_bytes()).map(drop)
    }

    #[test]
    fn what_fits_is_kept_whole_and_by_stream() {
        let mut console = Console::new(100, None);
        write(&mut console, Stream::Stdout, "one ").expect("fits");
        write(&mut console, Stream::Stderr, "oops").expect("fits");
        write(&mut console, Stream::Stdout, "two").expect("fits");
        assert_eq!(console.text(Stream::Stdout), "one two");
        assert_eq!(console.text(Stream::Stderr), "oops");
    }

    #[test]
    fn the_first_and_the_last_part_are_kept_with_a_marker_between() {
        let mut console = Console::new(8, None);
        write(&mut console, Stream::Stdout, "abcdefghijklmnop").expect("under the hard bound");
        assert_eq!(
            console.text(Stream::Stdout),
            "abcd\n[... 8 bytes of output were not kept ...]\nmnop"
        );
        assert_eq!(console.text(Stream::Stderr), "");
    }

    #[test]
    fn a_cut_never_shows_half_a_character() {
        let mut console = Console::new(6, None);
        write(&mut console, Stream::Stdout, "aäääääääääää").expect("under the hard bound");
        let text = console.text(Stream::Stdout);
        assert!(!text.contains('\u{fffd}'), "{text:?}");
        assert!(text.starts_with("aä\n[") && text.ends_with("]\nä"), "{text:?}");
    }

    #[test]
    fn a_flood_is_stopped_at_sixty_four_times_the_limit() {
        let mut console = Console::new(10, None);
        let full = (0..64).try_for_each(|_| write(&mut console, Stream::Stderr, "0123456789"));
        assert_eq!(full, Ok(()));
        let reached = write(&mut console, Stream::Stdout, "x").expect_err("is past the bound");
        assert_eq!((reached.limit, reached.used), (640, 641));
    }
}
