//! The tool that searches: `search_files`, by name and by content.
//!
//! How much there is to search is not in our hands, so everything is bounded: entries, depth, bytes
//! and time. A search that meets a bound gives what it has and says so.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::path::{Place, join};
use super::{Answer, MAX_FILE_BYTES, Output, Root};

const MAX_RESULTS: usize = 1000;
const MAX_ENTRIES: usize = 200_000;
const MAX_DEPTH: usize = 64;
const MAX_SEARCHED_BYTES: u64 = 256 << 20;
const MAX_TIME: Duration = Duration::from_secs(20);

/// How much of a line is shown.
const LINE_CHARS: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchFiles {
    #[serde(default)]
    path: String,
    pattern: String,
    #[serde(default)]
    contains: Option<String>,
    #[serde(default)]
    regex: bool,
    #[serde(default = "default_results")]
    max_results: usize,
}

fn default_results() -> usize {
    100
}

pub(super) fn search_files(roots: &[Root], wanted: SearchFiles, cancelled: &AtomicBool) -> Answer {
    if wanted.max_results == 0 || wanted.max_results > MAX_RESULTS {
        return Err(format!("max_results has to be between 1 and {MAX_RESULTS}"));
    }
    let mut search = Search {
        names: NamePattern::new(&wanted.pattern)?,
        lines: line_pattern(&wanted)?,
        max_results: wanted.max_results,
        cancelled,
        started: Instant::now(),
        entries: 0,
        bytes: 0,
        matches: Vec::new(),
        stopped: None,
    };
    if wanted.path.is_empty() {
        for root in roots {
            search.walk(&root.directory, &root.name, "", 0);
        }
    } else {
        let place = Place::find(roots, &wanted.path)?;
        let directory =
            place.directory().open_dir(&place.inside).map_err(|error| place.explain(&error))?;
        search.walk(&directory, &place.shown(), "", 0);
    }
    Ok(search.finish())
}

fn line_pattern(wanted: &SearchFiles) -> Result<Option<Regex>, String> {
    let Some(contains) = wanted.contains.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let pattern = if wanted.regex { contains.to_owned() } else { regex::escape(contains) };
    let pattern = regex::RegexBuilder::new(&pattern).size_limit(1 << 20).build();
    pattern.map(Some).map_err(|error| format!("contains is not a regular expression: {error}"))
}

/// A glob. Without a slash it is matched with the name alone, at any depth.
struct NamePattern {
    glob: GlobMatcher,
    whole_path: bool,
}

impl NamePattern {
    fn new(pattern: &str) -> Result<Self, String> {
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .map_err(|error| format!("the pattern is not a glob: {error}"))?;
        Ok(Self { glob: glob.compile_matcher(), whole_path: pattern.contains('/') })
    }

    fn fits(&self, path: &str, name: &str) -> bool {
        self.glob.is_match(if self.whole_path { path } else { name })
    }
}

struct Search<'a> {
    names: NamePattern,
    lines: Option<Regex>,
    max_results: usize,
    cancelled: &'a AtomicBool,
    started: Instant,
    entries: usize,
    bytes: u64,
    matches: Vec<Value>,
    stopped: Option<&'static str>,
}

impl Search<'_> {
    /// Searches one directory and those below it. `shown` is the directory's path for people,
    /// `inside` its path from where the search began.
    fn walk(&mut self, directory: &Dir, shown: &str, inside: &str, depth: usize) {
        if depth > MAX_DEPTH {
            self.stopped = Some("some directories are nested too deeply to be searched");
            return;
        }
        // What cannot be read cannot be searched; the rest can.
        let Ok(entries) = directory.entries() else { return };
        let room = MAX_ENTRIES.saturating_sub(self.entries);
        let mut found: Vec<_> = entries
            .take(room + 1)
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.file_name().into_string().ok()?, entry.file_type().ok()?))
            })
            .collect();
        self.entries += found.len();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        for (name, file_type) in found {
            if self.must_stop() {
                return;
            }
            let path = if inside.is_empty() { name.clone() } else { format!("{inside}/{name}") };
            let shown = join(shown, &name);
            if self.names.fits(&path, &name) {
                if self.lines.is_some() {
                    if file_type.is_file() {
                        self.search_lines(directory, &name, &shown);
                    }
                } else {
                    self.matches.push(json!({ "path": shown }));
                }
            }
            // Links are not followed: what they lead to is found in its own place.
            if file_type.is_dir()
                && let Ok(below) = directory.open_dir(&name)
            {
                self.walk(&below, &shown, &path, depth + 1);
            }
        }
    }

    fn must_stop(&mut self) -> bool {
        if self.matches.len() >= self.max_results {
            self.stopped = Some("there may be more; narrow the search or raise max_results");
        } else if self.entries > MAX_ENTRIES {
            self.stopped = Some("there are too many files; search in a smaller directory");
        } else if self.bytes > MAX_SEARCHED_BYTES {
            self.stopped = Some("there is too much to read; narrow the pattern");
        } else if self.started.elapsed() > MAX_TIME || self.cancelled.load(Ordering::Relaxed) {
            self.stopped = Some("the search took too long; search in a smaller directory");
        } else {
            return false;
        }
        true
    }

    fn search_lines(&mut self, directory: &Dir, name: &str, shown: &str) {
        let Some(pattern) = &self.lines else { return };
        let Some(text) = read_text(directory, name) else { return };
        self.bytes += text.len() as u64;
        for (number, line) in text.lines().enumerate() {
            if pattern.is_match(line) {
                let line: String = line.trim().chars().take(LINE_CHARS).collect();
                self.matches.push(json!({ "path": shown, "line": number + 1, "text": line }));
                if self.matches.len() >= self.max_results {
                    return;
                }
            }
        }
    }

    fn finish(self) -> Output {
        let mut text: String = self
            .matches
            .iter()
            .map(|found| {
                let path = found["path"].as_str().unwrap_or_default();
                match (&found["line"], &found["text"]) {
                    (Value::Number(line), Value::String(text)) => {
                        format!("{path}:{line}: {text}\n")
                    }
                    _ => format!("{path}\n"),
                }
            })
            .collect();
        if self.matches.is_empty() {
            text.push_str("nothing was found\n");
        }
        let mut structured = json!({
            "matches": self.matches,
            "truncated": self.stopped.is_some(),
        });
        if let Some(why) = self.stopped {
            text.push_str(&format!("({why})\n"));
            structured["note"] = why.into();
        }
        Output::new(structured, text)
    }
}

/// The text of a regular file of moderate size. Others are passed over.
fn read_text(directory: &Dir, name: &str) -> Option<String> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = directory.open_with(name, &options).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}
