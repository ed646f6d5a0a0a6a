//! The files upstream, used as meant and attacked.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::Files;
use crate::ids::UpstreamName;
use crate::tool::{ContentBlock, ToolOutput};
use crate::upstream::settings::FilesRoot;

/// Two roots, `work` and the read-only `docs`, next to a secret that belongs to neither.
struct Ground {
    directory: tempfile::TempDir,
    files: Files,
}

impl Ground {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        for name in ["work/src", "docs", "outside"] {
            std::fs::create_dir_all(base.join(name)).unwrap();
        }
        std::fs::write(base.join("outside/secret"), "secret").unwrap();
        std::fs::write(base.join("work/notes.txt"), "one\ntwo\nthree two\n").unwrap();
        std::fs::write(base.join("work/src/main.rs"), "fn main() {}\n").unwrap();
        std::fs::write(base.join("docs/guide.md"), "read me").unwrap();
        let files = open(base, &[("work", false), ("docs", true)]);
        Self { directory, files }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    async fn call(&self, tool: &str, arguments: Value) -> ToolOutput {
        call(&self.files, tool, arguments).await
    }

    /// The structured content of an answer that is no error.
    async fn good(&self, tool: &str, arguments: Value) -> Value {
        let output = self.call(tool, arguments).await;
        assert!(!output.is_error, "{}", output.first_text());
        serde_json::from_str(output.structured.unwrap().get()).unwrap()
    }

    #[track_caller]
    #[expect(clippy::manual_async_fn, reason = "`track_caller` has no effect on an async fn")]
    fn refused(&self, tool: &'static str, arguments: Value) -> impl Future<Output = String> {
        async move {
            let output = self.call(tool, arguments.clone()).await;
            assert!(output.is_error, "{tool} {arguments}: {output:?}");
            let text = output.first_text().to_owned();
            let base = self.path().to_str().unwrap();
            let told = arguments.to_string().contains(base);
            assert!(told || !text.contains(base), "shows the machine's path: {text}");
            assert!(!text.contains("panic"), "{text}");
            text
        }
    }

    fn secret_is_untouched(&self) {
        assert_eq!(std::fs::read_to_string(self.path().join("outside/secret")).unwrap(), "secret");
        assert_eq!(std::fs::read_dir(self.path().join("outside")).unwrap().count(), 1);
    }
}

fn open(base: &Path, roots: &[(&str, bool)]) -> Files {
    let roots: Vec<_> = roots
        .iter()
        .map(|(name, read_only)| FilesRoot {
            name: (*name).to_owned(),
            directory: base.join(name),
            read_only: *read_only,
        })
        .collect();
    Files::open(&UpstreamName::try_new("files").unwrap(), &roots).unwrap()
}

async fn call(files: &Files, tool: &str, arguments: Value) -> ToolOutput {
    files.call(tool, &to_raw_value(&arguments).unwrap()).await
}

#[tokio::test]
async fn files_are_written_read_edited_listed_and_found() {
    let ground = Ground::new();
    let written =
        ground.good("write_file", json!({ "path": "work/src/new.txt", "text": "grün" })).await;
    assert_eq!(written, json!({ "path": "work/src/new.txt", "size_bytes": 5, "created": true }));
    let read = ground.good("read_file", json!({ "path": "work/src/new.txt" })).await;
    assert_eq!(read["text"], "grün");
    let edited = json!({ "path": "work/src/new.txt", "old_text": "ü", "new_text": "ue" });
    assert_eq!(ground.good("edit_file", edited).await["replacements"], 1);
    let read = ground.good("read_file", json!({ "path": "./work//src/./new.txt" })).await;
    assert_eq!(read["text"], "gruen");
    ground.good("create_directory", json!({ "path": "work/a/b/c" })).await;
    let listed = ground.good("list_directory", json!({ "path": "work" })).await;
    let names: Vec<_> =
        listed["entries"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["a", "notes.txt", "src"]);
    let roots = ground.good("list_directory", json!({})).await;
    assert_eq!(roots["entries"].as_array().unwrap().len(), 2);
    let stat = ground.good("stat", json!({ "path": "docs/guide.md" })).await;
    assert_eq!(
        (&stat["kind"], &stat["size_bytes"], &stat["writable"]),
        (&json!("file"), &json!(7), &json!(false))
    );
    let found = ground.good("search_files", json!({ "pattern": "*.{rs,md}" })).await;
    assert_eq!(
        found["matches"],
        json!([{ "path": "work/src/main.rs" }, { "path": "docs/guide.md" }])
    );
    let found = json!({ "path": "work", "pattern": "*.txt", "contains": "^t.*two", "regex": true });
    let found = ground.good("search_files", found).await;
    assert_eq!(
        found["matches"],
        json!([{ "path": "work/notes.txt", "line": 3, "text": "three two" }])
    );
    let found = ground.good("search_files", json!({ "path": "work", "pattern": "src/**" })).await;
    assert_eq!(found["matches"].as_array().unwrap().len(), 2, "{found}");
}

#[tokio::test]
async fn no_path_leads_out_of_a_root() {
    let ground = Ground::new();
    let (base, work) = (ground.path(), ground.path().join("work"));
    symlink(base.join("outside"), work.join("absolute_dir")).unwrap();
    symlink("../outside", work.join("relative_dir")).unwrap();
    symlink(base.join("outside/secret"), work.join("absolute_file")).unwrap();
    symlink("../outside/secret", work.join("relative_file")).unwrap();
    symlink("relative_file", work.join("chain")).unwrap();
    symlink("../outside/new", work.join("dangling")).unwrap();
    symlink("loop", work.join("loop")).unwrap();
    symlink("/proc/self/root", work.join("proc_root")).unwrap();
    let secret = base.join("outside/secret");
    let paths = [
        "work/../outside/secret",
        "../outside/secret",
        "work/src/../../outside/secret",
        secret.to_str().unwrap(),
        "/etc/passwd",
        "//etc/passwd",
        "work//etc/passwd/../x",
        "work/absolute_dir/secret",
        "work/relative_dir/secret",
        "work/absolute_file",
        "work/relative_file",
        "work/chain",
        "work/dangling",
        "work/loop",
        "work/proc_root/etc/passwd",
        "outside/secret",
        "work\0/secret",
        "work/no\0tes.txt",
        "..",
        "work/..",
        "",
        ".",
    ];
    for path in paths {
        ground.refused("read_file", json!({ "path": path })).await;
        ground.refused("write_file", json!({ "path": path, "text": "x" })).await;
        let edit = json!({ "path": path, "old_text": "secret", "new_text": "x" });
        ground.refused("edit_file", edit).await;
    }
    for path in ["work/absolute_dir", "work/relative_dir", "work/..", "/", "work/proc_root"] {
        ground.refused("list_directory", json!({ "path": path })).await;
        ground.refused("search_files", json!({ "path": path, "pattern": "*" })).await;
        ground.refused("create_directory", json!({ "path": format!("{path}/new") })).await;
        ground.refused("write_file", json!({ "path": format!("{path}/new"), "text": "" })).await;
    }
    let found = ground.good("search_files", json!({ "pattern": "secret*" })).await;
    assert_eq!(found["matches"], json!([]), "a search does not follow links");
    let found = json!({ "pattern": "*", "contains": "secret" });
    assert_eq!(ground.good("search_files", found).await["matches"], json!([]));
    ground.secret_is_untouched();
}

#[tokio::test]
async fn links_inside_of_a_root_are_followed_and_stay() {
    let ground = Ground::new();
    let link = ground.path().join("work/link");
    symlink("notes.txt", &link).unwrap();
    ground.good("write_file", json!({ "path": "work/link", "text": "new" })).await;
    assert!(link.symlink_metadata().unwrap().is_symlink());
    let text = std::fs::read_to_string(ground.path().join("work/notes.txt")).unwrap();
    assert_eq!(text, "new");
}

/// A directory that is swapped for a link to the outside, over and over, while it is written to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_race_leads_out_of_a_root() {
    let ground = Ground::new();
    let (inside, outside) = (ground.path().join("work/d"), ground.path().join("outside"));
    std::fs::create_dir(&inside).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (stop, aside) = (stop.clone(), ground.path().join("aside"));
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::fs::rename(&inside, &aside).unwrap();
                symlink(&outside, &inside).unwrap();
                std::fs::remove_file(&inside).unwrap();
                std::fs::rename(&aside, &inside).unwrap();
            }
        }
    });
    for _ in 0..300 {
        ground.call("write_file", json!({ "path": "work/d/planted", "text": "x" })).await;
        let read = ground.call("read_file", json!({ "path": "work/d/secret" })).await;
        assert!(read.is_error);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapper.join().unwrap();
    ground.secret_is_untouched();
}

#[tokio::test]
async fn special_files_are_refused_without_waiting() {
    let ground = Ground::new();
    let fifo = ground.path().join("work/fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let _socket =
        std::os::unix::net::UnixListener::bind(ground.path().join("work/socket")).unwrap();
    let started = Instant::now();
    for path in ["work/fifo", "work/socket", "work/src", "work"] {
        ground.refused("read_file", json!({ "path": path })).await;
        ground.refused("write_file", json!({ "path": path, "text": "x" })).await;
        let edit = json!({ "path": path, "old_text": "a", "new_text": "b" });
        ground.refused("edit_file", edit).await;
    }
    ground.good("search_files", json!({ "pattern": "*", "contains": "zzz" })).await;
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(ground.good("stat", json!({ "path": "work/fifo" })).await["kind"], "other");
}

#[tokio::test]
async fn sizes_are_bounded() {
    let ground = Ground::new();
    let sparse = std::fs::File::create(ground.path().join("work/sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    let read = json!({ "path": "work/sparse", "limit": 10, "offset": (1u64 << 40) - 4 });
    assert_eq!(ground.good("read_file", read).await["truncated"], false);
    ground.refused("read_file", json!({ "path": "work/sparse", "limit": (8 << 20) + 1 })).await;
    ground.refused("read_file", json!({ "path": "work/sparse", "limit": 0 })).await;
    let edit = json!({ "path": "work/sparse", "old_text": "a", "new_text": "b" });
    ground.refused("edit_file", edit).await;
    let big = "x".repeat((8 << 20) + 1);
    ground.refused("write_file", json!({ "path": "work/big", "text": big })).await;
    let many = json!({ "path": "work/many", "text": "a".repeat(1 << 20) });
    ground.good("write_file", many).await;
    let bomb = json!({ "path": "work/many", "old_text": "a", "new_text": "b".repeat(1 << 20), "replace_all": true });
    ground.refused("edit_file", bomb).await;
    let found = ground.good("search_files", json!({ "pattern": "*", "max_results": 2 })).await;
    assert_eq!(
        (found["matches"].as_array().unwrap().len(), &found["truncated"]),
        (2, &json!(true))
    );
}

#[tokio::test]
async fn text_is_read_in_parts_that_never_split_a_character() {
    let ground = Ground::new();
    let text = "aüüüüb";
    ground.good("write_file", json!({ "path": "work/t", "text": text })).await;
    let (mut offset, mut whole) = (json!(0), String::new());
    loop {
        let part = json!({ "path": "work/t", "offset": offset, "limit": 4 });
        let part = ground.good("read_file", part).await;
        whole.push_str(part["text"].as_str().unwrap());
        if part["truncated"] == false {
            break;
        }
        offset = part["next_offset"].clone();
    }
    assert_eq!(whole, text);
}

#[tokio::test]
async fn what_is_no_text_comes_as_base64_or_as_an_image() {
    let ground = Ground::new();
    let bytes = json!({ "path": "work/b", "text": "/wD+", "encoding": "base64" });
    ground.good("write_file", bytes).await;
    let refusal = ground.refused("read_file", json!({ "path": "work/b" })).await;
    assert!(refusal.contains("encoding \"base64\""), "{refusal}");
    let read = ground.good("read_file", json!({ "path": "work/b", "encoding": "base64" })).await;
    assert_eq!(read["base64"], "/wD+");
    std::fs::write(ground.path().join("work/i.png"), b"\x89PNG\r\n\x1a\n\xff").unwrap();
    let image = ground.call("read_file", json!({ "path": "work/i.png" })).await;
    assert!(
        matches!(&image.content[0], ContentBlock::Image { mime_type, .. } if mime_type == "image/png")
    );
}

#[tokio::test]
async fn a_read_only_root_refuses_and_alone_offers_nothing_that_writes() {
    let ground = Ground::new();
    for (tool, arguments) in [
        ("write_file", json!({ "path": "docs/new", "text": "x" })),
        ("edit_file", json!({ "path": "docs/guide.md", "old_text": "me", "new_text": "x" })),
        ("create_directory", json!({ "path": "docs/new" })),
    ] {
        let refusal = ground.refused(tool, arguments).await;
        assert!(refusal.contains("\"docs\" is read-only"), "{refusal}");
    }
    assert_eq!(std::fs::read_dir(ground.path().join("docs")).unwrap().count(), 1);
    assert_eq!(ground.files.catalog().tools.len(), 7);
    let alone = open(ground.path(), &[("docs", true)]);
    let catalog = alone.catalog();
    assert_eq!(catalog.tools.len(), 4);
    assert!(catalog.tools.iter().all(|tool| tool.hints.read_only));
    assert!(call(&alone, "write_file", json!({ "path": "x", "text": "" })).await.is_error);
    let short = call(&alone, "read_file", json!({ "path": "guide.md" })).await;
    assert_eq!(short.first_text(), "read me", "one root's name may be left out");
}

#[tokio::test]
async fn refusals_help() {
    let ground = Ground::new();
    let near = ground.refused("read_file", json!({ "path": "work/src/mian.rs" })).await;
    assert_eq!(near, r#"there is no "work/src/mian.rs"; did you mean "work/src/main.rs"?"#);
    let near = ground.refused("read_file", json!({ "path": "work/scr/main.rs" })).await;
    assert!(near.contains(r#"there is no "work/scr"; did you mean "work/src"?"#), "{near}");
    let roots = ground.refused("read_file", json!({ "path": "wrok/notes.txt" })).await;
    assert!(roots.contains(r#"the roots are "work", "docs""#), "{roots}");
    let edit = json!({ "path": "work/notes.txt", "old_text": "two", "new_text": "2" });
    let twice = ground.refused("edit_file", edit).await;
    assert!(twice.contains("2 times"), "{twice}");
    let missing = json!({ "path": "work/notes.txt", "old_text": "four", "new_text": "4" });
    assert!(ground.refused("edit_file", missing).await.contains("match exactly"));
    let new = json!({ "path": "work/no/dir/file", "text": "" });
    assert!(ground.refused("write_file", new).await.contains("create_directory"));
    let exists = json!({ "path": "work/notes.txt", "text": "", "overwrite": false });
    assert!(ground.refused("write_file", exists).await.contains("exists already"));
    assert!(ground.refused("read_file", json!({ "file": "x" })).await.contains("bad arguments"));
    assert!(ground.refused("no_such_tool", json!({})).await.contains("no tool"));
}

#[tokio::test]
async fn a_replaced_file_keeps_its_mode_and_leaves_nothing_behind() {
    let ground = Ground::new();
    let script = ground.path().join("work/run.sh");
    std::fs::write(&script, "old").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o750)).unwrap();
    ground.good("write_file", json!({ "path": "work/run.sh", "text": "new" })).await;
    assert_eq!(script.metadata().unwrap().permissions().mode() & 0o777, 0o750);
    let fresh = json!({ "path": "work/fresh", "text": "x", "overwrite": false });
    ground.good("write_file", fresh).await;
    let names: Vec<_> = std::fs::read_dir(ground.path().join("work"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn roots_that_cannot_be_served_are_named() {
    let base = tempfile::tempdir().unwrap();
    #[track_caller]
    fn check(roots: &[FilesRoot], part: &str) {
        let server = UpstreamName::try_new("files").unwrap();
        let error = Files::open(&server, roots).err().expect("refused").to_string();
        assert!(error.contains(part), "{error}");
    }
    let root = |name: &str, directory: &Path| FilesRoot {
        name: name.to_owned(),
        directory: directory.to_owned(),
        read_only: false,
    };
    check(&[], "no roots");
    check(&[root("a", &base.path().join("none"))], "none");
    check(&[root("a", base.path()), root("a", base.path())], "two roots");
    check(&[root("a/b", base.path())], "cannot be the name");
}
