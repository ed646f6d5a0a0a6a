//! Several files of an author become one: what his main file imports with `./` is put before it, in the
//! order in which modules are run.
//!
//! The files are joined as text, and share one scope; two of them that declare one name are refused, as
//! is every import that is more than a list of names. Whoever needs more bundles with a bundler.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use super::BuildError;

/// More files are no plugin's.
const MAX_FILES: usize = 200;

/// A chain of imports is no longer than this.
const MAX_DEPTH: usize = 64;

/// A file is no longer than this.
const MAX_BYTES: u64 = 4 << 20;

/// What to do instead.
const BUNDLE: &str = "bundle it: npx esbuild plugin.ts --bundle --format=esm --external:tools \
                      --outfile=bundle.js, and in plugin.toml [build] source = \"bundle.js\"";

/// An import of another file, or an export from one: at the beginning of a line, as everybody writes it.
static IMPORT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?m)^(import|export)\b((?:\s+type\b)?\s*(?:[\w$]+\s*,?\s*)?(?:\{[^}]*\}|\*(?:\s*as\s+[\w$]+)?)?\s*)(?:\bfrom\s*)?["'](\.{1,2}/[^"'\n]*)["'];?"#,
    )
});

/// The names in the braces of an import.
static NAMES: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^\s*(?:type\s+)?\{\s*(?:(?:type\s+)?[\w$]+\s*,\s*)*(?:(?:type\s+)?[\w$]+\s*)?\}\s*$")
});

/// A declaration at the top of a module.
static DECLARATION: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?m)^(?:export\s+)?(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?(?:function\*?|const|let|var|class|interface|type)\s+([\w$]+)",
    )
});

/// `export` before a declaration.
static EXPORT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?m)^export(\s+(?:declare\s+|abstract\s+)?(?:async\s+)?(?:function\*?|const|let|var|class|interface|type)\b)",
    )
});

/// Any other export.
static OTHER_EXPORT: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?m)^export\b.*$"));

/// An import of one of the host's modules, in one line.
static HOSTS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(?m)^import\b[^;"'`]*?\bfrom\s*["'][^."'][^"'\n]*["'];?"#));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is one")
}

/// The files of one project.
pub(super) struct Modules<'a> {
    folder: &'a Path,
    done: BTreeSet<PathBuf>,
    open: Vec<PathBuf>,
    /// Which file declares a name.
    names: BTreeMap<String, PathBuf>,
    /// Imports of the host's modules, each once.
    imports: BTreeSet<String>,
    /// The files before the main one.
    text: String,
}

impl<'a> Modules<'a> {
    pub(super) fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            done: BTreeSet::new(),
            open: Vec::new(),
            names: BTreeMap::new(),
            imports: BTreeSet::new(),
            text: String::new(),
        }
    }

    /// The main file, as it is if it imports no other.
    ///
    /// # Errors
    /// A file cannot be read or lies outside of the project, or they cannot be joined.
    pub(super) fn joined(mut self, main: &Path) -> Result<String, BuildError> {
        let main = self.within(Path::new(""), main)?;
        let source = self.read(&main)?;
        if !IMPORT.is_match(&source) {
            return Ok(source);
        }
        let own = self.visit(&main, &source)?;
        let imports: String = self.imports.iter().map(|line| format!("{line}\n")).collect();
        Ok(format!("{imports}{}{own}", self.text))
    }

    /// The file without its imports, after those that it imports were taken up.
    fn visit(&mut self, file: &Path, source: &str) -> Result<String, BuildError> {
        if self.open.len() >= MAX_DEPTH || self.done.len() >= MAX_FILES {
            return Err(told(file, source, 0, "the plugin has too many files"));
        }
        self.open.push(file.to_owned());
        self.done.insert(file.to_owned());
        for import in IMPORT.captures_iter(source) {
            let at = import.get(0).map_or(0, |whole| whole.start());
            if &import[1] == "export" || !NAMES.is_match(&import[2]) {
                let words = format!(
                    "only a list of names is imported from another file here, `import {{ a, b }} from \
                     \"{}\"`; for anything else, {BUNDLE}",
                    &import[3]
                );
                return Err(told(file, source, at, &words));
            }
            let folder = file.parent().unwrap_or(Path::new(""));
            let wanted = self
                .within(folder, Path::new(&import[3]))
                .map_err(|error| told(file, source, at, &error.to_string()))?;
            if self.open.contains(&wanted) {
                let words = format!("{} imports this file, too: a circle", wanted.display());
                return Err(told(file, source, at, &words));
            }
            if !self.done.contains(&wanted) {
                let text = self.read(&wanted)?;
                let text = self.visit(&wanted, &text)?;
                let text = EXPORT.replace_all(&text, "$1");
                if let Some(other) = OTHER_EXPORT.find(&text) {
                    let words = format!(
                        "only declarations are exported to another file here, `export function …`; \
                         for anything else, {BUNDLE}"
                    );
                    return Err(told(&wanted, &text, other.start(), &words));
                }
                self.text.push_str(&text);
                self.text.push('\n');
            }
        }
        self.open.pop();
        for declared in DECLARATION.captures_iter(source) {
            let name = declared[1].to_owned();
            let at = declared.get(0).map_or(0, |whole| whole.start());
            match self.names.get(&name) {
                Some(other) if other != file => {
                    let words = format!(
                        "`{name}` is declared in {} too, and the files share one scope: rename one of \
                         the two, or {BUNDLE}",
                        other.display()
                    );
                    return Err(told(file, source, at, &words));
                }
                _ => {
                    self.names.insert(name, file.to_owned());
                }
            }
        }
        let source = IMPORT.replace_all(source, "");
        for import in HOSTS.find_iter(&source) {
            self.imports.insert(import.as_str().replace('\n', " "));
        }
        Ok(HOSTS.replace_all(&source, "").into_owned())
    }

    /// A file as it is called from the project's folder, which it does not leave.
    fn within(&self, from: &Path, file: &Path) -> Result<PathBuf, BuildError> {
        let mut path = from.to_owned();
        for part in file.components() {
            match part {
                Component::Normal(name) => path.push(name),
                Component::CurDir => {}
                Component::ParentDir if path.pop() => {}
                _ => {
                    let shown = file.display();
                    return Err(BuildError::Source(format!("{shown} is outside of the project")));
                }
            }
        }
        // `./x.js` is what TypeScript's authors write for `x.ts`, and `./x` for both.
        let candidates = [path.clone(), path.with_extension("ts"), path.with_extension("js")];
        let found = candidates.iter().find(|path| self.folder.join(path).is_file());
        found.cloned().ok_or_else(|| {
            BuildError::Source(format!("there is no file {}", self.folder.join(path).display()))
        })
    }

    fn read(&self, file: &Path) -> Result<String, BuildError> {
        let path = self.folder.join(file);
        let size = fs::metadata(&path).map_err(BuildError::file("read", &path))?.len();
        if size > MAX_BYTES {
            let words = format!("{} has more than {MAX_BYTES} bytes", path.display());
            return Err(BuildError::Source(words));
        }
        fs::read_to_string(&path).map_err(BuildError::file("read", &path))
    }
}

fn told(file: &Path, source: &str, at: usize, words: &str) -> BuildError {
    let line = source.get(..at).unwrap_or_default().matches('\n').count() + 1;
    BuildError::Source(format!("{}:{line}: {words}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(files: &[(&str, &str)]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let joined = Modules::new(folder.path()).joined(Path::new(files[0].0));
        joined.map_err(|error| error.to_string())
    }

    #[test]
    fn one_file_stays_as_it_is() {
        let source = "import { tools } from \"tools\";\nexport const PLACE = \"./data\";\n";
        assert_eq!(joined(&[("plugin.ts", source)]).unwrap(), source);
    }

    #[test]
    fn files_are_joined_in_the_order_of_their_imports() {
        let text = joined(&[
            (
                "plugin.ts",
                "import { tools } from \"tools\";\nimport { b, type B } from \"./lib/b.ts\";\n\
                 import {\n  a,\n} from './a';\nexport async function f() { return [a, b]; }\n",
            ),
            ("a.ts", "import { b } from \"./lib/b.js\";\nexport const a = b + 1;\n"),
            (
                "lib/b.ts",
                "import { tools } from \"tools\";\nexport interface B {}\nexport const b = 1;\n",
            ),
        ]);
        let text = text.unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(
            lines,
            [
                "import { tools } from \"tools\";",
                " interface B {}",
                " const b = 1;",
                " const a = b + 1;",
                "export async function f() { return [a, b]; }",
            ]
        );
    }

    #[test]
    fn what_cannot_be_joined_is_refused_with_its_place() {
        #[track_caller]
        fn check(files: &[(&str, &str)], part: &str) {
            let refused = joined(files).unwrap_err();
            assert!(refused.contains(part), "{refused}");
        }
        let a = ("a.ts", "export const a = 1;\n");
        check(&[("p.ts", "\nimport * as a from \"./a.ts\";"), a], "p.ts:2: only a list of names");
        check(&[("p.ts", "import { a as b } from \"./a.ts\";"), a], "npx esbuild");
        check(&[("p.ts", "export * from \"./a.ts\";"), a], "only a list of names");
        check(&[("p.ts", "import { a } from \"./b.ts\";"), a], "p.ts:1: there is no file");
        check(&[("p.ts", "import { a } from \"../a.ts\";"), a], "outside of the project");
        check(
            &[("p.ts", "import { a } from \"./a.ts\";\nconst a = 2;"), a],
            "declared in a.ts too",
        );
        check(
            &[("p.ts", "import { b } from \"./b.ts\";"), ("b.ts", "import { c } from \"./p.ts\";")],
            "a circle",
        );
        check(
            &[("p.ts", "import { a } from \"./b.ts\";"), ("b.ts", "export default 1;\n")],
            "b.ts:1: only declarations",
        );
    }
}
