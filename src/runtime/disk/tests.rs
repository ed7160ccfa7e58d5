#![allow(clippy::unwrap_used)]

use super::testing::MemDisk;
use super::*;

fn disks() -> (tempfile::TempDir, Vec<Arc<dyn Disk>>) {
    (tempfile::tempdir().unwrap(), vec![Arc::new(RealDisk), Arc::new(MemDisk::default())])
}

/// What the real disk and the one of the tests have in common, so that tests on one say something about the other.
#[test]
fn both_disks_behave_the_same() {
    let (dir, disks) = disks();
    for disk in disks {
        let dir = dir.path().join("a/b");
        disk.create_dir_all(&dir).unwrap();
        disk.create_dir_all(&dir).unwrap();
        let path = dir.join("file");
        assert_eq!(disk.open(&path, OpenMode::Read).err().unwrap().kind(), io::ErrorKind::NotFound);
        let file = disk.open(&path, OpenMode::CreateNew).unwrap();
        assert_eq!(disk.open(&path, OpenMode::CreateNew).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        let parts: Vec<Vec<u8>> = (0..3000u32).map(|n| n.to_le_bytes().to_vec()).collect();
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        write_all_at(&*file, &mut slices, 0).unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.size().unwrap(), 12_000);
        let mut all = vec![0; 20_000];
        assert_eq!(read_full_at(&*file, &mut all, 0).unwrap(), 12_000);
        assert_eq!(all[..12_000], parts.concat());
        file.truncate(10).unwrap();
        assert_eq!(file.size().unwrap(), 10);

        let other = dir.join("other");
        disk.rename(&path, &other).unwrap();
        disk.sync_dir(&dir).unwrap();
        assert_eq!(disk.list(&dir).unwrap(), ["other"]);
        let kept = disk.open(&other, OpenMode::Read).unwrap();
        disk.remove(&other).unwrap();
        assert_eq!(kept.size().unwrap(), 10, "an open file outlives its name");
        assert!(disk.list(&dir).unwrap().is_empty());
        let space = disk.space(&dir).unwrap();
        assert!(space.total > 0 && space.free <= space.total);
    }
}

#[test]
fn a_whole_file_is_replaced_or_left_alone() {
    let (dir, disks) = disks();
    for disk in disks {
        let path = dir.path().join("rules.yaml");
        write_atomic(&*disk, &path, b"old").unwrap();
        disk.open(&dir.path().join("rules.yaml.tmp"), OpenMode::CreateNew).unwrap(); // A crash left it.
        write_atomic(&*disk, &path, b"new").unwrap();
        assert_eq!(read_text(&*disk, &path, 3).unwrap(), "new");
        assert_eq!(read_text(&*disk, &path, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(disk.list(dir.path()).unwrap(), ["rules.yaml"]);
        write_atomic(&*disk, &path, &[0xff]).unwrap();
        assert_eq!(read_text(&*disk, &path, 9).unwrap_err().kind(), io::ErrorKind::InvalidData);
        write_atomic(&*disk, &path, &vec![7; 200_000]).unwrap();
        assert_eq!(read_bounded(&*disk, &path, 200_000).unwrap(), vec![7; 200_000]);
        disk.remove(&path).unwrap();
    }
}

#[test]
fn a_failed_replacement_leaves_the_old_file() {
    let disk = MemDisk::default();
    let path = Path::new("/d/f");
    write_atomic(&disk, path, b"old").unwrap();
    disk.faults(|faults| faults.syncs_to_fail = 1);
    assert!(write_atomic(&disk, path, b"new").is_err());
    assert_eq!(read_text(&disk, path, 10).unwrap(), "old");
    assert_eq!(disk.paths(), [path]);
    let after = disk.crashed(0.0);
    assert_eq!(read_text(&after, path, 10).unwrap(), "old");
}
