use super::*;
use crate::runtime::disk::testing::MemDisk;

fn ring(text: &str) -> Result<Ring, String> {
    let disk = MemDisk::default();
    disk.put(Path::new("/gateways"), text.as_bytes());
    read(&disk, Path::new("/gateways"))
}

#[test]
fn a_line_is_a_gateway_and_a_mistake_is_told_with_its_place() {
    let expected = Ring::new(["a:1", "b:2"].map(Member::new));
    assert_eq!(ring("# ours\n\nb:2\n a:1  # first\n"), Ok(expected));
    assert_eq!(ring(""), Ok(Ring::default()));
    let error = ring("a:1\nb\n").expect_err("no port");
    assert!(error.contains("/gateways: line 2: `b` is not HOST:PORT"), "{error}");
    assert!(ring("a:0").is_err());
}
