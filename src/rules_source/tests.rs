#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::runtime::{RealDisk, Shutdown, SystemClock};

/// Far longer than an edit takes until it is in force: the machine may be busy.
const EFFECT_MAX: Duration = Duration::from_secs(20);

/// Longer than any change takes to be noticed.
const NOTHING_HAPPENS: Duration = Duration::from_millis(1200);

/// A running source that refuses texts with a line `bad`, and reports each call of `install`.
struct Running {
    path: PathBuf,
    state: RulesState,
    installs: Receiver<String>,
    stop: Shutdown,
    thread: Option<JoinHandle<()>>,
}

fn refuse_bad(text: &str) -> Result<(), RulesProblem> {
    let line = text.lines().position(|line| line == "bad");
    line.map_or(Ok(()), |line| Err(RulesProblem::at("unknown word", line as u32 + 1, 1)))
}

impl Running {
    fn start(path: &Path) -> Self {
        let state = RulesState::default();
        let source = FileSource::new(path, Arc::new(RealDisk), Arc::new(SystemClock::new()), state.clone());
        if let Ok(text) = source.load()
            && refuse_bad(&text).is_ok()
        {
            source.loaded(&text, 1);
        }
        let (called, installs) = channel();
        let mut version = 1;
        let install = move |text: &str| {
            called.send(text.to_owned()).unwrap();
            refuse_bad(text)?;
            version += 1;
            Ok(version)
        };
        let stop = Shutdown::new();
        let begun = stop.clone();
        let thread = Some(std::thread::spawn(move || source.run(install, begun)));
        let running = Self { path: path.to_path_buf(), state, installs, stop, thread };
        // The first look happens at once; after it the watch stands.
        std::thread::sleep(Duration::from_millis(100));
        running
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
    }

    fn installed(&self) -> String {
        self.installs.recv_timeout(EFFECT_MAX).expect("installed")
    }

    fn nothing_installed(&self) {
        let installed = self.installs.recv_timeout(NOTHING_HAPPENS);
        assert!(installed.is_err(), "installed {installed:?}");
    }

    fn error(&self) -> Option<RulesProblem> {
        self.state.get().error
    }

    fn await_status(&self, wanted: impl Fn(&RulesStatus) -> bool) {
        let began = Instant::now();
        while !wanted(&self.state.get()) {
            assert!(began.elapsed() < EFFECT_MAX, "{:?}", self.state.get());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until there is an error, or is none any more.
    fn await_error(&self, wanted: bool) {
        self.await_status(|status| status.error.is_some() == wanted);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.begin();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn folder_with(text: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("rules.yaml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn an_edit_in_place_takes_effect_within_a_second() {
    let (_folder, path) = folder_with("one");
    let running = Running::start(&path);
    for text in ["two", "three", "two"] {
        running.write(text);
        assert_eq!(running.installed(), text);
    }
    running.await_status(|status| status.version == 4);
    let status = running.state.get();
    assert_eq!((status.error, status.source.as_str()), (None, path.to_str().unwrap()));
    assert!(status.loaded_at_unix_nano > 1_700_000_000_000_000_000);
}

#[test]
fn a_file_renamed_over_it_takes_effect() {
    let (folder, path) = folder_with("one");
    let running = Running::start(&path);
    let new = folder.path().join(".rules.yaml.swp");
    fs::write(&new, "two").unwrap();
    fs::rename(&new, &path).unwrap();
    assert_eq!(running.installed(), "two");
    assert_eq!(running.error(), None);
}

/// As kubelet does: the key is a link through `..data`, a link to a folder with a time in its name.
#[test]
fn a_config_map_update_takes_effect() {
    let mount = TempDir::new().unwrap();
    let at = |name: &str| mount.path().join(name);
    let publish = |version: &str, text: &str| {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("rules.yaml"), text).unwrap();
        symlink(version, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    publish("..2026_08_01", "one");
    symlink("..data/rules.yaml", at("rules.yaml")).unwrap();
    let running = Running::start(&at("rules.yaml"));
    publish("..2026_08_02", "two");
    fs::remove_dir_all(at("..2026_08_01")).unwrap();
    assert_eq!(running.installed(), "two");
    assert_eq!(running.error(), None);
    running.nothing_installed();
}

#[test]
fn a_link_to_a_file_elsewhere_is_followed_without_being_told() {
    let (_elsewhere, target) = folder_with("one");
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("rules.yaml");
    symlink(&target, &path).unwrap();
    let running = Running::start(&path);
    fs::write(&target, "two").unwrap();
    assert_eq!(running.installed(), "two");
}

#[test]
fn a_half_written_file_waits_for_its_other_half() {
    use std::io::Write;
    let (_folder, path) = folder_with("one");
    let running = Running::start(&path);
    let mut file = fs::File::create(&path).unwrap();
    for part in ["t", "w", "o"] {
        file.write_all(part.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(120));
    }
    drop(file);
    assert_eq!(running.installed(), "two");
    assert_eq!(running.error(), None);
    running.nothing_installed();
}

#[test]
fn a_file_that_stays_open_takes_effect_all_the_same() {
    use std::io::Write;
    let (_folder, path) = folder_with("one");
    let running = Running::start(&path);
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"two").unwrap();
    assert_eq!(running.installed(), "two");
}

#[test]
fn a_bad_text_leaves_the_last_good_one_in_force_until_a_good_one_comes() {
    let (_folder, path) = folder_with("one");
    let running = Running::start(&path);
    running.write("first line\nbad");
    assert_eq!(running.installed(), "first line\nbad");
    running.await_error(true);
    assert_eq!(running.error(), Some(RulesProblem::at("unknown word", 2, 1)));
    assert_eq!(running.state.get().version, 1);
    running.nothing_installed();
    running.write("three");
    assert_eq!(running.installed(), "three");
    running.await_error(false);
    assert_eq!(running.state.get().version, 2);
}

#[test]
fn the_text_in_force_is_not_installed_again_when_it_comes_back() {
    let (_folder, path) = folder_with("one");
    let running = Running::start(&path);
    running.write("bad");
    assert_eq!(running.installed(), "bad");
    running.await_error(true);
    running.write("one");
    running.await_error(false);
    running.nothing_installed();
    assert_eq!(running.state.get().version, 1);
}

#[test]
fn a_deleted_file_is_an_error_and_comes_back() {
    let (_folder, path) = folder_with("one");
    let running = Running::start(&path);
    fs::remove_file(&path).unwrap();
    running.await_error(true);
    assert!(running.error().unwrap().message.contains("No such file"), "{:?}", running.error());
    running.write("one");
    running.await_error(false);
    fs::remove_file(&path).unwrap();
    running.await_error(true);
    running.write("two");
    assert_eq!(running.installed(), "two");
    running.await_error(false);
}

#[test]
fn a_replaced_directory_is_watched_again() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("rules");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("rules.yaml"), "one").unwrap();
    let running = Running::start(&dir.join("rules.yaml"));
    fs::remove_dir_all(&dir).unwrap();
    running.await_error(true);
    fs::create_dir(&dir).unwrap();
    running.write("two");
    assert_eq!(running.installed(), "two");
    std::thread::sleep(Duration::from_millis(700));
    running.write("three");
    assert_eq!(running.installed(), "three");
}

#[test]
fn a_source_that_starts_without_its_directory_finds_it_later() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("later");
    let running = Running::start(&dir.join("rules.yaml"));
    assert!(running.error().is_some());
    fs::create_dir(&dir).unwrap();
    running.write("one");
    assert_eq!(running.installed(), "one");
    running.await_error(false);
}

#[test]
fn the_same_content_again_is_not_installed() {
    let (folder, path) = folder_with("one");
    let running = Running::start(&path);
    running.write("one");
    let new = folder.path().join("new");
    fs::write(&new, "one").unwrap();
    fs::rename(&new, &path).unwrap();
    fs::write(folder.path().join("another.yaml"), "two").unwrap();
    running.nothing_installed();
    assert_eq!(running.state.get().version, 1);
}

#[test]
fn a_text_is_tried_once() {
    let (_folder, path) = folder_with("bad");
    let running = Running::start(&path);
    assert_eq!(running.installed(), "bad");
    running.nothing_installed();
    assert_eq!((running.state.get().version, running.error().unwrap().line), (0, Some(1)));
    running.write("good");
    assert_eq!(running.installed(), "good");
    running.await_error(false);
}

#[test]
fn what_is_no_text_is_refused_with_its_place() {
    let (folder, path) = folder_with("one");
    let source_of = |path: &Path| {
        FileSource::new(path, Arc::new(RealDisk), Arc::new(SystemClock::new()), RulesState::default())
    };
    fs::write(&path, b"a: 1\n\xC3\xA9: \xFF").unwrap();
    assert_eq!(source_of(&path).load(), Err(RulesProblem::at("not valid UTF-8", 2, 4)));
    fs::write(&path, vec![b'#'; TEXT_BYTES_MAX as usize]).unwrap();
    assert!(source_of(&path).load().is_ok());
    fs::write(&path, vec![b'#'; TEXT_BYTES_MAX as usize + 1]).unwrap();
    let problem = source_of(&path).load().unwrap_err();
    assert_eq!(problem.message, "the file is larger than 1024 KiB");
    assert!(source_of(folder.path()).load().is_err());
}

#[test]
fn it_stops_promptly() {
    let (_folder, path) = folder_with("one");
    let mut running = Running::start(&path);
    let began = Instant::now();
    running.stop.begin();
    running.thread.take().unwrap().join().unwrap();
    // It is woken, and does not wait for the next poll.
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    running.thread = Some(std::thread::spawn(|| ()));
}

#[test]
fn the_status_as_json_has_its_documented_fields() {
    let state = RulesState::default();
    let json = serde_json::to_value(state.get()).unwrap();
    let empty = serde_json::json!({"version": 0, "source": "", "loaded_at": null, "error": null});
    assert_eq!(json, empty);
    state.loaded(3, "rules.yaml", 1_700_000_000_500_000_000);
    state.refused(RulesProblem::at("no such key", 4, 7));
    assert_eq!(
        serde_json::to_value(state.get()).unwrap(),
        serde_json::json!({
            "version": 3, "source": "rules.yaml", "loaded_at": "2023-11-14T22:13:20.5Z",
            "error": {"message": "no such key", "line": 4, "column": 7},
        })
    );
    assert_eq!(state.get().error.unwrap().to_string(), "line 4, column 7: no such key");
}
