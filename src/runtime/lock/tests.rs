#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_second_owner_is_refused_with_the_first_ones_pid() {
    let dir = tempfile::tempdir().unwrap();
    let first = DirLock::acquire(dir.path()).unwrap();
    let refused = DirLock::acquire(dir.path()).unwrap_err();
    assert!(matches!(refused, LockError::Held { pid: Some(pid), .. } if pid == std::process::id()));
    assert!(refused.to_string().ends_with(&format!("(pid {})", std::process::id())), "{refused}");
    drop(first);
    DirLock::acquire(dir.path()).unwrap();
}

#[test]
fn a_missing_directory_is_an_error_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let error = DirLock::acquire(&dir.path().join("missing")).unwrap_err();
    assert!(matches!(error, LockError::Io { .. }));
}
