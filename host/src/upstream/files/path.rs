//! Paths as the tools see them, `root/sub/file`, and where they lead.

use std::io;

use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt};

use super::Root;

/// A place below a root. Nothing is known about whether anything is there.
pub(super) struct Place<'a> {
    pub(super) root: &'a Root,
    /// Relative, without `..`; `.` for the root itself.
    pub(super) inside: String,
}

/// How many entries are looked at for a name that might have been meant.
const LOOKED_AT: usize = 5000;

impl<'a> Place<'a> {
    /// Finds the root that a path begins with. With one root, its name may be left out.
    pub(super) fn find(roots: &'a [Root], path: &str) -> Result<Self, String> {
        let shown = shown(path);
        if path.contains('\0') {
            return Err("a path cannot contain a NUL character".to_owned());
        }
        if path.starts_with('/') {
            return Err(format!(
                "{shown} is absolute; paths here begin with the name of a root: {}",
                names(roots)
            ));
        }
        let mut parts: Vec<&str> =
            path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return Err(format!("{shown} contains \"..\"; write the path without it"));
        }
        let named = parts.first().and_then(|first| roots.iter().find(|root| root.name == *first));
        let root = match (named, roots) {
            (Some(root), _) => {
                parts.remove(0);
                root
            }
            (None, [root]) => root,
            (None, _) => {
                return Err(format!(
                    "{shown} does not begin with the name of a root; the roots are {}",
                    names(roots)
                ));
            }
        };
        let inside = if parts.is_empty() { ".".to_owned() } else { parts.join("/") };
        Ok(Self { root, inside })
    }

    /// The whole path, as the tools show it.
    pub(super) fn shown(&self) -> String {
        join(&self.root.name, &self.inside)
    }

    pub(super) fn directory(&self) -> &'a Dir {
        &self.root.directory
    }

    /// Refuses writing where the operator does not want it.
    pub(super) fn check_writable(&self) -> Result<(), String> {
        if self.root.read_only {
            return Err(format!("the root {:?} is read-only; nothing was changed", self.root.name));
        }
        Ok(())
    }

    /// The directory that holds this place, and the last part of the path.
    pub(super) fn split(&self) -> Result<(&str, &str), String> {
        match self.inside.rsplit_once('/') {
            Some(parts) => Ok(parts),
            None if self.inside == "." => Err(format!("{} is a root, not a file", self.shown())),
            None => Ok((".", &self.inside)),
        }
    }

    /// Opens a regular file to read it, and nothing else.
    pub(super) fn open_file(&self) -> Result<(File, u64), String> {
        let mut options = OpenOptions::new();
        // Without O_NONBLOCK, opening a named pipe waits until somebody writes to it.
        options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = self
            .directory()
            .open_with(&self.inside, &options)
            .map_err(|error| self.explain(&error))?;
        let metadata = file.metadata().map_err(|error| self.explain(&error))?;
        if metadata.is_dir() {
            return Err(format!("{} is a directory; use list_directory", self.shown()));
        }
        if !metadata.is_file() {
            return Err(format!("{} is not a regular file", self.shown()));
        }
        Ok((file, metadata.len()))
    }

    /// An error in words that help to do better.
    pub(super) fn explain(&self, error: &io::Error) -> String {
        let shown = self.shown();
        match error.kind() {
            io::ErrorKind::NotFound => self.explain_missing(),
            io::ErrorKind::PermissionDenied if leads_out(error) => {
                format!("{shown} leads out of its root by a symbolic link; it cannot be used")
            }
            io::ErrorKind::PermissionDenied => {
                format!("{shown}: the operating system denies access")
            }
            io::ErrorKind::NotADirectory => format!("a part of {shown} is not a directory"),
            io::ErrorKind::IsADirectory => format!("{shown} is a directory"),
            io::ErrorKind::StorageFull => format!("{shown}: the disk is full"),
            _ if error.raw_os_error() == Some(libc::ELOOP) => {
                format!("{shown}: symbolic links go round in a circle")
            }
            _ => format!("{shown}: {error}"),
        }
    }

    /// Names the part of the path that is missing, and what is there that looks like it.
    fn explain_missing(&self) -> String {
        let mut there = ".".to_owned();
        for part in self.inside.split('/') {
            let next = if there == "." { part.to_owned() } else { format!("{there}/{part}") };
            if self.directory().symlink_metadata(&next).is_ok() {
                there = next;
                continue;
            }
            let near = self.nearest(&there, part);
            let near = match near.as_slice() {
                [] => String::new(),
                near => format!("; did you mean {}?", near.join(" or ")),
            };
            let missing = join(&self.root.name, &next);
            return format!("there is no {missing:?}{near}");
        }
        format!("{} is a symbolic link that leads nowhere", self.shown())
    }

    fn nearest(&self, directory: &str, wanted: &str) -> Vec<String> {
        let Ok(entries) = self.directory().read_dir(directory) else { return Vec::new() };
        let wanted = wanted.to_lowercase();
        let mut near: Vec<(f64, String)> = entries
            .take(LOOKED_AT)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .map(|name| (likeness(&wanted, &name.to_lowercase()), name))
            .filter(|(likeness, _)| *likeness > 0.8)
            .collect();
        near.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
        let shown = join(&self.root.name, directory);
        near.into_iter().take(3).map(|(_, name)| format!("{:?}", join(&shown, &name))).collect()
    }
}

/// Between 0 and 1. Two swapped letters in a short name are as likely as a wrong end of a long one.
fn likeness(wanted: &str, name: &str) -> f64 {
    let slip = strsim::damerau_levenshtein(wanted, name) == 1;
    strsim::jaro_winkler(wanted, name).max(if slip { 0.9 } else { 0.0 })
}

/// cap-std reports an escape as a plain denial, the kernel (`openat2`) as EXDEV.
fn leads_out(error: &io::Error) -> bool {
    error.raw_os_error().is_none() || error.raw_os_error() == Some(libc::EXDEV)
}

pub(super) fn join(front: &str, back: &str) -> String {
    if back == "." { front.to_owned() } else { format!("{front}/{back}") }
}

fn names(roots: &[Root]) -> String {
    roots.iter().map(|root| format!("{:?}", root.name)).collect::<Vec<_>>().join(", ")
}

fn shown(path: &str) -> String {
    format!("{:?}", path.chars().take(200).collect::<String>())
}
