//! Files that jobs leave.

use bytes::Bytes;

use super::{Rule, Scene};
use crate::artifact::Artifact;
use crate::error::Error;
use crate::id::JobId;
use crate::lease::Lease;
use crate::store::Change;

pub(super) const RULES: &[Rule] = &[
    ("a_file_is_seen_once_its_attempt_is_acked", seen_once_acked),
    ("a_late_attempt_can_not_overwrite_a_file", late_attempt),
    ("a_file_that_is_not_sealed_is_gone", not_sealed),
    ("a_file_that_is_written_twice_is_the_last_one", twice),
    ("a_file_goes_with_its_job", goes_with_job),
    ("a_name_that_could_lead_elsewhere_is_refused", names),
];

fn leave(scene: &Scene, lease: &Lease, name: &str, parts: &[&str]) -> Result<Artifact, Error> {
    let artifacts = &scene.handle().artifacts;
    let mut upload = artifacts.upload(lease.id, lease.token.clone(), name.to_owned()).wait()?;
    for part in parts {
        upload = upload.write(Bytes::copy_from_slice(part.as_bytes())).wait()?;
    }
    upload.seal().wait()
}

fn read(scene: &Scene, id: JobId, name: &str) -> Result<String, Error> {
    let mut download = scene.handle().artifacts.download(id, name.to_owned()).wait()?;
    let mut text = Vec::new();
    while let Some((part, rest)) = download.read().wait()? {
        text.extend_from_slice(&part);
        download = rest;
    }
    Ok(String::from_utf8(text).expect("text"))
}

fn names_of(scene: &Scene, id: JobId) -> Vec<String> {
    let artifacts = scene.handle().artifacts.artifacts(id).wait().expect("artifacts");
    artifacts.into_iter().map(|artifact| artifact.name).collect()
}

fn seen_once_acked(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = scene.lease_one();
    let left = leave(scene, &lease, "b.txt", &["ab", "c"]).expect("held");
    assert_eq!((left.bytes, &left.sha256[..8]), (3, "ba7816bf"));
    leave(scene, &lease, "a.txt", &[]).expect("held");
    assert!(names_of(scene, id).is_empty());
    assert!(matches!(read(scene, id, "b.txt"), Err(Error::NotFound { .. })));
    scene.crash();
    scene.ack(&lease);
    assert_eq!(names_of(scene, id), ["a.txt", "b.txt"]);
    scene.crash();
    assert_eq!(read(scene, id, "b.txt").expect("it is there"), "abc");
    assert_eq!(read(scene, id, "a.txt").expect("it is there"), "");
}

fn late_attempt(scene: &mut Scene) {
    let id = scene.put("{}");
    let late = scene.lease_one();
    leave(scene, &late, "f", &["late"]).expect("held");
    let open = scene.handle().artifacts.upload(id, late.token.clone(), "f".to_owned()).wait().expect("held");
    scene.pass(61);
    let lease = scene.lease_one();
    leave(scene, &lease, "g", &["good"]).expect("held");
    assert_eq!(open.seal().wait().expect_err("refused"), Error::LeaseLost { id });
    assert_eq!(leave(scene, &late, "g", &["late"]).expect_err("refused"), Error::LeaseLost { id });
    scene.ack(&lease);
    assert_eq!(names_of(scene, id), ["g"]);
    assert_eq!(read(scene, id, "g").expect("it is there"), "good");
}

fn not_sealed(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = scene.lease_one();
    let upload = scene.handle().artifacts.upload(id, lease.token.clone(), "f".to_owned()).wait().expect("held");
    drop(upload.write(Bytes::from_static(b"part")).wait().expect("written"));
    scene.ack(&lease);
    assert!(names_of(scene, id).is_empty());
}

fn twice(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = scene.lease_one();
    leave(scene, &lease, "f", &["first"]).expect("held");
    leave(scene, &lease, "f", &["second"]).expect("held");
    scene.ack(&lease);
    assert_eq!(read(scene, id, "f").expect("it is there"), "second");
}

fn goes_with_job(scene: &mut Scene) {
    let id = scene.put("{}");
    let lease = scene.lease_one();
    leave(scene, &lease, "f", &["text"]).expect("held");
    scene.ack(&lease);
    scene.change(Change::Delete(id)).expect("delete");
    assert!(matches!(read(scene, id, "f"), Err(Error::NotFound { what: "job", .. })));
}

fn names(scene: &mut Scene) {
    scene.put("{}");
    let lease = scene.lease_one();
    for bad in ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "a\nb", &"x".repeat(256)] {
        assert!(matches!(leave(scene, &lease, bad, &["x"]), Err(Error::Invalid { .. })), "{bad:?}");
    }
    leave(scene, &lease, "Ω 1.txt", &["x"]).expect("held");
    scene.ack(&lease);
}
