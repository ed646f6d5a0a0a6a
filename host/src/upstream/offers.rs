//! Reads the lists of resources, templates and prompts. What cannot be used is left out and told;
//! the rest of the list stays.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::offers::{Offers, Prompt, PromptArgument, Resource, ResourceTemplate};
use crate::upstream::handshake::ServerInfo;
use crate::upstream::inbox::Changes;
use crate::upstream::message::{MAX_DEPTH, too_deep};
use crate::upstream::paging::Paging;

/// The most bytes of one entry.
const MAX_ENTRY_BYTES: usize = 1 << 20;

/// The longest URI.
pub(super) const MAX_URI_BYTES: usize = 8 << 10;

/// The longest name of a prompt.
const MAX_NAME_BYTES: usize = 256;

/// The most arguments of one prompt.
const MAX_ARGUMENTS: usize = 1000;

/// One page of any of the lists.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<'a> {
    #[serde(borrow)]
    resources: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    resource_templates: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    prompts: Option<Vec<&'a RawValue>>,
    next_cursor: Option<String>,
}

/// Something that servers list.
pub(super) trait Offer: Sized + Send + Sync + 'static {
    /// How it is asked for.
    const METHOD: &'static str;
    /// What several of them are called.
    const PLURAL: &'static str;

    /// Whether a server says that it has any.
    fn is_offered(info: &ServerInfo) -> bool;

    /// How often a server said that this list changed.
    fn changes(changes: Changes) -> u64;

    /// Takes its list out of a page.
    fn entries<'a>(page: &mut Page<'a>) -> Option<Vec<&'a RawValue>>;

    /// Reads one.
    fn read(entry: Entry, raw: &RawValue) -> Result<Self, String>;

    /// What no two of them share.
    fn key(&self) -> &Arc<str>;
}

/// The members that we know, of any of the three.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    uri: Option<String>,
    uri_template: Option<String>,
    #[serde(default)]
    name: Option<Value>,
    #[serde(default)]
    title: Option<Value>,
    #[serde(default)]
    description: Option<Value>,
    #[serde(default)]
    mime_type: Option<Value>,
    #[serde(default)]
    size: Option<Value>,
    #[serde(default)]
    arguments: Option<Value>,
}

impl Offer for Resource {
    const METHOD: &'static str = "resources/list";
    const PLURAL: &'static str = "resources";

    fn is_offered(info: &ServerInfo) -> bool {
        info.has_resources
    }

    fn changes(changes: Changes) -> u64 {
        changes.resources
    }

    fn entries<'a>(page: &mut Page<'a>) -> Option<Vec<&'a RawValue>> {
        page.resources.take()
    }

    fn read(entry: Entry, raw: &RawValue) -> Result<Self, String> {
        let uri = usable(entry.uri, "URI", MAX_URI_BYTES)?;
        Ok(Self {
            name: entry.name.and_then(text).unwrap_or_else(|| uri.to_string()),
            uri,
            title: entry.title.and_then(text),
            description: entry.description.and_then(text),
            mime_type: entry.mime_type.and_then(text),
            size: entry.size.and_then(|size| size.as_u64()),
            raw: raw.to_owned().into(),
        })
    }

    fn key(&self) -> &Arc<str> {
        &self.uri
    }
}

impl Offer for ResourceTemplate {
    const METHOD: &'static str = "resources/templates/list";
    const PLURAL: &'static str = "resource templates";

    fn is_offered(info: &ServerInfo) -> bool {
        info.has_resources
    }

    fn changes(changes: Changes) -> u64 {
        changes.resources
    }

    fn entries<'a>(page: &mut Page<'a>) -> Option<Vec<&'a RawValue>> {
        page.resource_templates.take()
    }

    fn read(entry: Entry, raw: &RawValue) -> Result<Self, String> {
        let uri_template = usable(entry.uri_template, "URI template", MAX_URI_BYTES)?;
        Ok(Self {
            name: entry.name.and_then(text).unwrap_or_else(|| uri_template.to_string()),
            uri_template,
            title: entry.title.and_then(text),
            description: entry.description.and_then(text),
            mime_type: entry.mime_type.and_then(text),
            raw: raw.to_owned().into(),
        })
    }

    fn key(&self) -> &Arc<str> {
        &self.uri_template
    }
}

impl Offer for Prompt {
    const METHOD: &'static str = "prompts/list";
    const PLURAL: &'static str = "prompts";

    fn is_offered(info: &ServerInfo) -> bool {
        info.has_prompts
    }

    fn changes(changes: Changes) -> u64 {
        changes.prompts
    }

    fn entries<'a>(page: &mut Page<'a>) -> Option<Vec<&'a RawValue>> {
        page.prompts.take()
    }

    fn read(entry: Entry, raw: &RawValue) -> Result<Self, String> {
        let arguments = match entry.arguments {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(all)) if all.len() <= MAX_ARGUMENTS => {
                all.into_iter().map(argument).collect::<Result<_, _>>()?
            }
            Some(Value::Array(_)) => {
                return Err(format!("it has more than {MAX_ARGUMENTS} arguments"));
            }
            Some(_) => return Err("its arguments are no list".to_owned()),
        };
        Ok(Self {
            name: usable(entry.name.and_then(text), "name", MAX_NAME_BYTES)?,
            title: entry.title.and_then(text),
            description: entry.description.and_then(text),
            arguments,
            raw: raw.to_owned().into(),
        })
    }

    fn key(&self) -> &Arc<str> {
        &self.name
    }
}

fn argument(mut written: Value) -> Result<PromptArgument, String> {
    let mut take = |name: &str| written.get_mut(name).map(Value::take);
    let name = take("name").and_then(text).ok_or("one of its arguments has no name")?;
    let description = take("description").and_then(text);
    let required = take("required").and_then(|flag| flag.as_bool()).unwrap_or(false);
    Ok(PromptArgument { name, description, required })
}

/// A name that can be shown and typed.
fn usable(name: Option<String>, what: &str, longest: usize) -> Result<Arc<str>, String> {
    let name = name.filter(|name| !name.trim().is_empty()).ok_or(format!("it has no {what}"))?;
    if name.len() > longest {
        Err(format!("its {what} is longer than {longest} bytes"))
    } else if name.chars().any(char::is_control) {
        Err(format!("its {what} has control characters"))
    } else {
        Ok(name.into())
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// Puts a list together, page by page.
pub(super) struct Builder<T> {
    items: Vec<T>,
    keys: HashSet<Arc<str>>,
    /// The entries so far, those that were left out included.
    seen: usize,
    paging: Paging,
}

impl<T> Default for Builder<T> {
    fn default() -> Self {
        Self { items: Vec::new(), keys: HashSet::new(), seen: 0, paging: Paging::default() }
    }
}

impl<T: Offer> Builder<T> {
    /// Takes one page. Gives the cursor of the next one, or `None` when the list is complete or
    /// goes beyond a ceiling.
    ///
    /// # Errors
    /// The page is no such list; the text says why.
    pub(super) fn add(&mut self, page: &RawValue) -> Result<Option<String>, String> {
        let cannot = |why: String| format!("its list of {} cannot be read: {why}", T::PLURAL);
        let mut page: Page<'_> =
            serde_json::from_str(page.get()).map_err(|error| cannot(error.to_string()))?;
        let entries = T::entries(&mut page).ok_or_else(|| cannot("it is missing".to_owned()))?;
        self.paging.begin();
        for raw in entries {
            if !self.paging.has_room(self.items.len(), raw.get().len(), T::PLURAL) {
                return Ok(None);
            }
            self.seen += 1;
            if let Err(why) = self.add_one(raw) {
                let number = self.seen;
                let problem = format!("number {number} of its {} was left out: {why}", T::PLURAL);
                self.paging.problem(problem);
            }
        }
        Ok(self.paging.next(page.next_cursor))
    }

    fn add_one(&mut self, raw: &RawValue) -> Result<(), String> {
        if raw.get().len() > MAX_ENTRY_BYTES {
            return Err(format!("it is larger than {MAX_ENTRY_BYTES} bytes"));
        }
        if too_deep(raw.get()) {
            return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
        }
        let entry: Entry = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
        let item = T::read(entry, raw)?;
        if !self.keys.insert(Arc::clone(item.key())) {
            return Err(format!("another one is called {:?} too", item.key()));
        }
        self.items.push(item);
        Ok(())
    }

    /// Ends the list.
    pub(super) fn finish(self) -> Offers<T> {
        Offers { items: self.items.into(), problems: self.paging.into_problems() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn what_cannot_be_used_is_left_out_and_told_and_the_rest_stays_whole() {
        let long = "u".repeat(MAX_URI_BYTES + 1);
        let mut builder = Builder::<Resource>::default();
        let json = format!(
            r#"{{"resources":[
                {{"uri":"a://1","name":"one","size":3,"mimeType":"text/plain","vendor":{{"n":123456789012345678901234567890}}}},
                {{"uri":"a://1"}}, {{"name":"no uri"}}, {{"uri":5}}, 7, {{"uri":"a\u0000b"}}, {{"uri":"{long}"}},
                {{"uri":"a://2","name":7,"size":-1,"title":""}}
            ],"nextCursor":"more","ttlMs":5}}"#
        );
        assert_eq!(builder.add(&page(&json)), Ok(Some("more".to_owned())));
        assert_eq!(builder.add(&page(r#"{"resources":[],"nextCursor":"more"}"#)), Ok(None));
        let list = builder.finish();
        let names: Vec<_> = list.items.iter().map(|it| (&*it.uri, &*it.name, it.size)).collect();
        assert_eq!(names, [("a://1", "one", Some(3)), ("a://2", "a://2", None)]);
        assert!(list.items[0].raw.get().contains("123456789012345678901234567890"));
        assert_eq!(list.problems.len(), 7, "{:#?}", list.problems);
        assert!(list.problems[6].contains("circle"));
    }

    #[test]
    fn prompts_have_named_arguments() {
        let mut builder = Builder::<Prompt>::default();
        let json = r#"{"prompts":[
            {"name":"p","arguments":[{"name":"a","required":true},{"name":"b","description":"B"}]},
            {"name":"q"}, {"name":"r","arguments":{}}, {"name":"s","arguments":[{}]}
        ]}"#;
        assert_eq!(builder.add(&page(json)), Ok(None));
        let list = builder.finish();
        assert_eq!(list.items.len(), 2);
        assert_eq!(list.problems.len(), 2, "{:#?}", list.problems);
        let required: Vec<_> =
            list.items[0].arguments.iter().map(|it| (&*it.name, it.required)).collect();
        assert_eq!(required, [("a", true), ("b", false)]);
    }

    #[test]
    fn a_page_of_something_else_is_refused() {
        let mut builder = Builder::<Prompt>::default();
        assert!(builder.add(&page(r#"{"resources":[]}"#)).is_err());
        assert!(builder.add(&page("[]")).is_err());
    }
}
