#![allow(clippy::unwrap_used)]

use super::*;
use crate::runtime::disk::testing::MemDisk;

#[test]
fn keeps_the_newest_versions() {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::default());
    let history = RulesHistory::new(disk, "/data/rules".into());
    assert_eq!(history.newest(), None);
    let last = VERSIONS_MAX as u32 + 3;
    for version in 1..=last {
        history.keep(version, &format!("text {version}")).unwrap();
    }
    assert_eq!(history.versions().len(), VERSIONS_MAX);
    assert_eq!(history.text(3), None);
    assert_eq!(history.newest(), Some((last, format!("text {last}"))));
    let before: Vec<_> = history.before(last, 2).into_keys().collect();
    assert_eq!(before, [last - 2, last - 1]);
}
