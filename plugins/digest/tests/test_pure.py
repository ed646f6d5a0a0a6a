"""The parts that ask nobody: `python -m unittest discover -s plugins/digest/tests`."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import changelog
import history
import release

SHA = ["1" * 40, "2" * 40, "3" * 40, "4" * 40]
LOG = f"""Commit history:
Commit: {SHA[0]}
Author: Ada
Date: 2026-11-20 10:00:00+00:00
Message: feat(parser)!: take lists

A body that says
Commit: nothing

Commit: {SHA[1]}
Author: Bob
Date: 2026-11-19 10:00:00+00:00
Message: fix: end at the end

BREAKING CHANGE: what began does not go on

Commit: {SHA[2]}
Author: Ada
Date: 2026-11-18 10:00:00+00:00
Message: [docs] say more

Commit: {SHA[3]}
Author: Cy
Date: 2026-11-17 10:00:00+00:00
Message: plain words
"""
DIFF = """Diff with v1:
diff --git a/src/a.rs b/src/a.rs
index 1..2 100644
--- a/src/a.rs
+++ b/src/a.rs
@@ -1,2 +1,3 @@ fn x()
--- a/forged.rs
-+++ b/forged.rs
+one
+two
+three
@@ -9 +10 @@
-old
+new
diff --git a/docs/new.md b/docs/new.md
--- /dev/null
+++ b/docs/new.md
@@ -0,0 +1 @@
+text
\\ No newline at end of file
diff --git a/gone.txt b/gone.txt
--- a/gone.txt
+++ /dev/null
@@ -1,2 +0,0 @@
-one
-two
"""


class HistoryTest(unittest.TestCase):
    def test_a_log_is_read(self):
        first, second, third, fourth = history.commits(LOG)
        self.assertEqual((first.kind, first.scope, first.subject), ("feat", "parser", "take lists"))
        self.assertEqual((first.author, first.date, first.sha), ("Ada", "2026-11-20", SHA[0]))
        self.assertTrue(first.breaking and second.breaking and not third.breaking)
        self.assertEqual((third.kind, third.scope, third.subject), ("", "docs", "say more"))
        self.assertEqual((fourth.kind, fourth.scope, fourth.subject), ("", "", "plain words"))
        self.assertEqual(history.commits("Commit history:\n"), [])

    def test_a_diff_is_counted_and_a_files_own_lines_are_no_headers(self):
        self.assertEqual(history.touched(DIFF), ["src/a.rs", "docs/new.md", "gone.txt"])
        found = [(area.folder, area.files, area.added, area.removed) for area in history.areas(DIFF)]
        self.assertEqual(found, [("src/", 1, 4, 3), ("gone.txt", 1, 0, 2), ("docs/", 1, 1, 0)])
        self.assertEqual(history.areas(""), [])

    def test_a_revision_has_its_full_name(self):
        self.assertEqual(history.revision(f"commit {SHA[1]}\nAuthor: A <a@b>\n"), SHA[1])
        self.assertIsNone(history.revision("a tree\n"))


class ReleaseTest(unittest.TestCase):
    def test_groups_follow_what_the_subjects_tell(self):
        commits = history.commits(LOG)
        self.assertEqual(release.best_grouping(commits), "type")
        groups = release.groups(commits, "type")
        self.assertEqual([group.title for group in groups], ["Features", "Fixes", "Other"])
        self.assertEqual(release.best_grouping(commits[2:]), "scope")
        self.assertEqual(release.best_grouping(commits[3:]), "folder")
        commits[0].files = ["src/a.rs", "src/b.rs", "README.md"]
        self.assertEqual([group.title for group in release.groups(commits[:1], "folder")], ["README.md", "src/"])
        people = [(person.name, person.commits) for person in release.contributors(commits)]
        self.assertEqual(people, [("Ada", 2), ("Bob", 1), ("Cy", 1)])

    def test_markdown_keeps_strangers_words_on_their_line(self):
        commit = history.Commit(SHA[0], "A", "", "x | y\n# forged")
        made = release.Digest("v1", True, "type", [release.Group("Other", [commit])], [], [], [], None)
        self.assertIn("- x \\| y # forged (1111111)", release.markdown(made, 1))


class ChangelogTest(unittest.TestCase):
    def test_the_newest_section_is_found(self):
        text = "# Changelog\n\nAll of it.\n\n## [1.2.0] - 2026\n### Added\n- a\n```\n## no heading\n```\n## 1.1\n- b\n"
        found = changelog.newest("CHANGELOG.md", text)
        self.assertEqual(found.heading, "[1.2.0] - 2026")
        self.assertEqual(found.text, "### Added\n- a\n```\n## no heading\n```")
        self.assertIsNone(changelog.newest("x", "# Nothing\n"))
        long = changelog.newest("x", "# 1.0\n" + "line\n" * 100)
        self.assertTrue(long.text.endswith("… and 40 more lines"))
        self.assertEqual(changelog.pick(["README.md", "CHANGES.md", "Changelog.md"]), "Changelog.md")
        self.assertIsNone(changelog.pick(["a"]))


if __name__ == "__main__":
    unittest.main()
