//! What is to be run, and how it differs from the defaults.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::language::Language;
use crate::limits::Limits;
use crate::sandbox::GuestDirectory;
use crate::upstream::{Caller, ClientHandler};

/// A piece of source text and the wishes of whoever runs it.
#[derive(Clone)]
pub struct Script {
    pub(super) language: Language,
    pub(super) name: String,
    pub(super) source: String,
    pub(super) input: Option<Value>,
    pub(super) seed: Option<u64>,
    pub(super) profile: Option<String>,
    pub(super) limits: Option<Limits>,
    pub(super) directories: Vec<GuestDirectory>,
    pub(super) caller: Caller,
    pub(super) client: Option<Arc<str>>,
    pub(super) client_handler: Option<Arc<dyn ClientHandler>>,
    pub(super) meta: Option<Map<String, Value>>,
    pub(super) session: Option<String>,
    pub(super) connection: Option<Arc<str>>,
    pub(super) session_share: Option<usize>,
    pub(super) check: bool,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("language", &self.language)
            .field("name", &self.name)
            .field("profile", &self.profile)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

impl Script {
    /// Bytes of source text that are accepted.
    pub const MAX_SOURCE_BYTES: usize = 4 << 20;

    /// What tracebacks call Python without a name.
    const PYTHON_NAME: &str = "script.py";

    /// What tracebacks call JavaScript without a name.
    const JAVASCRIPT_NAME: &str = "script.js";

    /// What tracebacks call TypeScript without a name.
    const TYPESCRIPT_NAME: &str = "script.ts";

    /// Bytes of JSON that are accepted for [`Script::meta`].
    pub const MAX_META_BYTES: usize = 16 << 10;

    /// Python source.
    pub fn python(source: impl Into<String>) -> Self {
        Self::new(Language::Python, Self::PYTHON_NAME, source.into())
    }

    /// JavaScript source. Types in it are errors, as they are to every JavaScript engine.
    pub fn javascript(source: impl Into<String>) -> Self {
        Self::new(Language::JavaScript, Self::JAVASCRIPT_NAME, source.into())
    }

    /// TypeScript source; JavaScript is TypeScript too. Its types are taken off, not checked.
    pub fn typescript(source: impl Into<String>) -> Self {
        Self::new(Language::JavaScript, Self::TYPESCRIPT_NAME, source.into())
    }

    fn new(language: Language, name: &str, source: String) -> Self {
        Self {
            language,
            name: name.to_owned(),
            source,
            input: None,
            seed: None,
            profile: None,
            limits: None,
            directories: Vec::new(),
            caller: Caller::anonymous(),
            client: None,
            client_handler: None,
            meta: None,
            session: None,
            connection: None,
            session_share: None,
            check: false,
        }
    }

    /// Compare its calls with the tools' schemas before anything runs, as far as they are written out:
    /// a tool that is not granted, an argument of another name or kind, one that is missing. What does
    /// not fit ends the run with an error of kind `syntax`, which names the line and the nearest right
    /// name. For TypeScript and JavaScript: a script in Python with this wish is not started.
    #[must_use]
    pub fn check(mut self, check: bool) -> Self {
        self.check = check;
        self
    }

    /// For whom it runs: what servers' settings take from the caller comes from here, and calls for
    /// callers whose values differ never share a connection.
    pub fn caller(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }

    /// Which program asks for it, as it calls itself. It is recorded, and decides nothing.
    pub fn client(mut self, name: impl Into<Arc<str>>) -> Self {
        self.client = Some(name.into());
        self
    }

    /// Who answers what servers ask during this run, instead of the host's own handler. Servers of the
    /// modern era are told what this one can do; those of the legacy era were told at their handshake
    /// what the host's own one can, and ask no more than that.
    pub fn client_handler(mut self, handler: Arc<dyn ClientHandler>) -> Self {
        self.client_handler = Some(handler);
        self
    }

    /// Members of the `_meta` of every request that this run makes: trace context (`traceparent`) and
    /// whatever else servers understand. What the protocol itself puts there wins.
    pub fn meta(mut self, meta: Map<String, Value>) -> Self {
        self.meta = Some(meta);
        self
    }

    /// Runs it in a session: it has the variables, imports and functions that earlier runs with the
    /// same caller, profile and name have left. The report says whether the session was there and
    /// whether it is kept ([`RunReport::session`](crate::RunReport::session)). Runs in one session take
    /// turns. The memory limit is one for the whole session.
    ///
    /// `random` goes on where it was; a [`Script::seed`] is for what is seeded in this run. A session
    /// sees no directories.
    pub fn session(mut self, name: impl Into<String>) -> Self {
        self.session = Some(name.into());
        self
    }

    /// Over which of its caller's connections it comes. What plugins keep they keep for this where the
    /// script has no [`Script::session`]; without either, for this one run. No two connections may have
    /// the same name.
    pub fn connection(mut self, name: impl Into<Arc<str>>) -> Self {
        self.connection = Some(name.into());
        self
    }

    /// How many sessions its caller may have, instead of what the host lets every caller have.
    pub fn session_share(mut self, count: usize) -> Self {
        self.session_share = Some(count);
        self
    }

    /// The language that it is written in.
    pub fn language(&self) -> Language {
        self.language
    }

    /// The profile that it wants to run under, if it named one.
    pub fn profile_name(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// The name that tracebacks show; by default `script.py`, `script.js` or `script.ts`, in a session
    /// `cell 1` and so on. For JavaScript it says more: whatever ends in `.js`, `.mjs` or `.cjs` has no
    /// types, and everything else is TypeScript.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whether nobody has named it.
    pub(super) fn is_unnamed(name: &str) -> bool {
        [Self::PYTHON_NAME, Self::JAVASCRIPT_NAME, Self::TYPESCRIPT_NAME].contains(&name)
    }

    /// What the script gets as `inputs`; in Python also as text from `input()` and `sys.stdin`.
    pub fn input(mut self, input: Value) -> Self {
        self.input = Some(input);
        self
    }

    /// Makes the run repeatable: randomness comes from this seed, the clock starts at a fixed
    /// instant, and waits take as long as they were asked to. What tools answer is theirs.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The profile to run under; the configuration's default without it.
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.profile = Some(name.into());
        self
    }

    /// Other limits than the profile's. Whoever embeds the host decides; no guest can ask for it.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Lets the script see a directory of this machine. May be repeated. Such a run cannot be
    /// replayed, and its report says so.
    pub fn directory(mut self, directory: GuestDirectory) -> Self {
        self.directories.push(directory);
        self
    }
}
