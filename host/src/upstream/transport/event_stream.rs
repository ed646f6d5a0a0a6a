//! Server-sent events (`text/event-stream`), cut out of a byte stream with bounded memory.

use std::time::Duration;

use crate::upstream::message::MAX_MESSAGE_BYTES;

/// Enough of both ends of an event that is too long to find a message's id there.
const ENDS_BYTES: usize = 512;

/// The most that is kept of a line that is not data. An id goes back to the server as a header; it
/// has to fit one.
const MAX_FIELD_BYTES: usize = 2048;
const MAX_ID_BYTES: usize = 1024;

/// So many bytes tell whether a line is data: a byte-order mark, the name, a colon, a space.
const PREFIX_BYTES: usize = 9;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Whole {
        /// The `event` field; empty means `message`.
        kind: String,
        /// The `data` lines, joined by newlines.
        data: Vec<u8>,
    },
    /// Longer than [`MAX_MESSAGE_BYTES`]: the two ends of its data.
    TooLong { head: Vec<u8>, tail: Vec<u8> },
}

/// Takes bytes and gives events. Knows the last event's id and the pause that the server wishes
/// before a reconnection.
#[derive(Default)]
pub(super) struct EventReader {
    /// The current line, unless its bytes go to the data at once.
    line: Vec<u8>,
    line_is_data: bool,
    after_carriage_return: bool,
    /// The first line is over; there can be no byte-order mark any more.
    started: bool,
    kind: String,
    data: Vec<u8>,
    has_data: bool,
    /// The beginning of data that are too long, while their rest is being skipped.
    skipping: Option<Vec<u8>>,
    event_id: Option<String>,
    pub(super) last_id: Option<String>,
    pub(super) retry: Option<Duration>,
}

impl EventReader {
    /// Takes some bytes, and calls `on` for each event that they complete.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut on: impl FnMut(Event)) {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_carriage_return) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = line_end(bytes) else {
                self.take(bytes);
                return;
            };
            self.take(&bytes[..end]);
            self.after_carriage_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if let Some(event) = self.end_line() {
                on(event);
            }
        }
    }

    /// Whether the event that is being read is already too long.
    pub(super) fn is_too_long(&self) -> bool {
        self.skipping.is_some()
    }

    /// Takes a piece of the current line.
    fn take(&mut self, piece: &[u8]) {
        if self.line_is_data {
            return self.take_data(piece);
        }
        // Most bytes are data, and are copied only once.
        let missing = PREFIX_BYTES.saturating_sub(self.line.len()).min(piece.len());
        let (prefix, rest) = piece.split_at(missing);
        self.line.extend_from_slice(prefix);
        if self.line.len() >= PREFIX_BYTES && self.begin_data() {
            self.take_data(rest);
        } else {
            let room = MAX_FIELD_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&rest[..rest.len().min(room)]);
        }
    }

    /// The current line without a byte-order mark.
    fn line(&self) -> &[u8] {
        let mark = if self.started { None } else { self.line.strip_prefix(b"\xef\xbb\xbf") };
        mark.unwrap_or(&self.line)
    }

    /// Moves what is known of the current line to the data, if it is data.
    fn begin_data(&mut self) -> bool {
        let Some(value) = self.line().strip_prefix(b"data:") else { return false };
        let value = value.strip_prefix(b" ").unwrap_or(value).to_vec();
        self.line.clear();
        self.line_is_data = true;
        self.join_data();
        self.take_data(&value);
        true
    }

    /// Begins a line of the data.
    fn join_data(&mut self) {
        if std::mem::replace(&mut self.has_data, true) {
            self.take_data(b"\n");
        }
    }

    fn take_data(&mut self, piece: &[u8]) {
        self.data.extend_from_slice(piece);
        if self.data.len() > MAX_MESSAGE_BYTES && self.skipping.is_none() {
            self.skipping = Some(self.data[..ENDS_BYTES].to_vec());
        }
        if self.skipping.is_some() && self.data.len() > ENDS_BYTES {
            self.data = self.data.split_off(self.data.len() - ENDS_BYTES);
        }
    }

    fn end_line(&mut self) -> Option<Event> {
        let is_data = std::mem::take(&mut self.line_is_data) || self.begin_data();
        self.line_is_data = false;
        let line = String::from_utf8_lossy(self.line()).into_owned();
        self.line.clear();
        self.started = true;
        if is_data {
            return None;
        }
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            // Without a colon: one empty line of data.
            "data" => self.join_data(),
            "event" => self.kind = value.chars().take(40).collect(),
            "id" if value.len() <= MAX_ID_BYTES && !value.contains('\0') => {
                self.event_id = Some(value.to_owned());
            }
            "retry" => self.retry = value.parse().ok().map(Duration::from_millis),
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Event> {
        if let Some(id) = self.event_id.take() {
            self.last_id = Some(id).filter(|id| !id.is_empty());
        }
        let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        let has_data = std::mem::take(&mut self.has_data);
        match self.skipping.take() {
            Some(head) => Some(Event::TooLong { head, tail: data }),
            None => has_data.then_some(Event::Whole { kind, data }),
        }
    }
}

/// Where the first line ends, if it does. Asks whole blocks first, in a form that the compiler turns
/// into a few wide instructions: most of the bytes of a large event are looked at here only.
fn line_end(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let ends = |byte: &u8| u8::from(*byte == b'\n') | u8::from(*byte == b'\r');
    let has_end = |block: &[u8; BLOCK]| block.iter().fold(0, |found, byte| found | ends(byte)) != 0;
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let from = blocks.iter().position(has_end).map_or(bytes.len() - rest.len(), |at| at * BLOCK);
    bytes[from..].iter().position(|byte| ends(byte) != 0).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(chunks: &[&[u8]]) -> (Vec<String>, EventReader) {
        let (mut reader, mut found) = (EventReader::default(), Vec::new());
        for chunk in chunks {
            reader.push(chunk, |event| match event {
                Event::Whole { data, .. } => found.push(String::from_utf8(data).unwrap()),
                Event::TooLong { .. } => panic!("too long"),
            });
        }
        (found, reader)
    }

    #[test]
    fn events_are_found_whatever_the_line_ends_and_chunks_are() {
        let text = b"\xef\xbb\xbf: hello\r\ndata: a\r\ndata:b\r\nid: 7\nretry: 1500\n\nevent: x\n\ndata\n\ndata: \xc3\xbc\r\r";
        let whole = events(&[text]);
        assert_eq!(whole.0, ["a\nb", "", "ü"]);
        assert_eq!(whole.1.last_id.as_deref(), Some("7"));
        assert_eq!(whole.1.retry, Some(Duration::from_millis(1500)));
        for size in [1, 2, 3, 5, 8, 13, 64] {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(events(&pieces).0, whole.0, "{size}");
        }
    }

    #[test]
    fn data_are_joined_whatever_their_length() {
        let long = "x".repeat(1000);
        let text = format!("\u{feff}data:{long}\ndata\ndata: \ndata:  y\ndatax: no\n\n");
        for size in [1, 7, 64, 100, 5000] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            assert_eq!(events(&pieces).0, [format!("{long}\n\n\n y")], "{size}");
        }
    }

    #[test]
    fn the_kind_is_told_and_holds_for_one_event() {
        let (mut reader, mut kinds) = (EventReader::default(), Vec::new());
        reader.push(b"event: endpoint\ndata: /m\n\ndata: x\n\n", |event| match event {
            Event::Whole { kind, .. } => kinds.push(kind),
            Event::TooLong { .. } => panic!("too long"),
        });
        assert_eq!(kinds, ["endpoint", ""]);
    }

    #[test]
    fn an_event_that_is_too_long_keeps_its_ends_and_the_next_one_is_whole() {
        let chunk = vec![b'x'; 1 << 20];
        let (mut reader, mut found) = (EventReader::default(), Vec::new());
        reader.push(b"data: {\"id\":5,", |_| panic!("no event"));
        for _ in 0..40 {
            reader.push(&chunk, |_| panic!("no event"));
            assert!(reader.data.len() <= MAX_MESSAGE_BYTES + chunk.len());
        }
        assert!(reader.is_too_long());
        reader.push(b"\"}\n\ndata: short\n\n", |event| found.push(event));
        let Event::TooLong { head, tail } = &found[0] else { panic!("{found:?}") };
        assert!(head.starts_with(b"{\"id\":5,x") && tail.ends_with(b"x\"}"));
        assert_eq!(found[1], Event::Whole { kind: String::new(), data: b"short".to_vec() });
        assert!(!reader.is_too_long());
    }

    #[test]
    fn a_line_without_end_that_is_no_data_takes_no_memory() {
        let mut reader = EventReader::default();
        for _ in 0..40 {
            reader.push(&[b':'; 1 << 16], |_| panic!("no event"));
        }
        assert!(reader.line.len() <= MAX_FIELD_BYTES);
        assert_eq!(events(&[b"id: 3\ndata: x\n\n"]).0, ["x"]);
    }
}
