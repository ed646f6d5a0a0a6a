//! Server-sent events (`text/event-stream`), cut out of a byte stream with bounded memory.

use std::time::Duration;

use crate::upstream::message::MAX_MESSAGE_BYTES;

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// The `data` lines, joined by newlines.
    pub(super) data: String,
    /// The `event` field; empty means `message`.
    pub(super) kind: String,
}

/// An event is longer than [`MAX_MESSAGE_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Takes bytes and gives events. Knows the last event's id and the pause that the server wishes
/// before a reconnection.
#[derive(Default)]
pub(super) struct EventReader {
    line: Vec<u8>,
    after_carriage_return: bool,
    started: bool,
    event: Event,
    has_data: bool,
    event_id: Option<String>,
    pub(super) last_id: Option<String>,
    pub(super) retry: Option<Duration>,
}

impl EventReader {
    /// Takes some bytes, and calls `on` for each event that they complete.
    ///
    /// # Errors
    /// An event is too long.
    pub(super) fn push(&mut self, bytes: &[u8], mut on: impl FnMut(Event)) -> Result<(), TooLong> {
        for byte in bytes {
            match byte {
                b'\n' if std::mem::take(&mut self.after_carriage_return) => {}
                b'\n' | b'\r' => {
                    self.after_carriage_return = *byte == b'\r';
                    if let Some(event) = self.end_line() {
                        on(event);
                    }
                }
                _ => {
                    self.after_carriage_return = false;
                    self.line.push(*byte);
                    if self.line.len() + self.event.data.len() > MAX_MESSAGE_BYTES + 8 {
                        return Err(TooLong);
                    }
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let mut line = String::from_utf8_lossy(&line).into_owned();
        if !std::mem::replace(&mut self.started, true)
            && let Some(rest) = line.strip_prefix('\u{feff}')
        {
            line = rest.to_owned();
        }
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            "event" => self.event.kind = value.chars().take(40).collect(),
            // An id goes back to the server as a header; it has to fit one.
            "id" if value.len() <= 1024 && !value.contains('\0') => {
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
        let event = std::mem::take(&mut self.event);
        std::mem::take(&mut self.has_data).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(chunks: &[&[u8]]) -> (Vec<String>, EventReader) {
        let (mut reader, mut found) = (EventReader::default(), Vec::new());
        for chunk in chunks {
            reader.push(chunk, |event| found.push(event.data)).unwrap();
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
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(events(&single).0, whole.0);
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let chunk = vec![b'x'; 1 << 20];
        let mut reader = EventReader::default();
        reader.push(b"data: ", |_| {}).unwrap();
        let refused = (0..20).any(|_| reader.push(&chunk, |_| {}) == Err(TooLong));
        assert!(refused);
    }
}
