use super::super::staging::{Staged, StagedFile, Staging};
use super::*;

fn stage(staging: &mut Staging, path: &str, content: &str) -> (Vec<Staged>, StagedFile) {
    let mut file = staging.create().unwrap();
    file.append(content.as_bytes()).unwrap();
    let name = StagedFile { staged: file.name().to_owned(), path: path.to_owned() };
    (vec![file], name)
}

#[test]
fn publishing_may_be_repeated_and_overwrites_nothing() {
    let folder = TempDir::new().unwrap();
    let mut staging = Staging::open(folder.path(), "u", "s", "t", 1);
    let (mut files, name) = stage(&mut staging, "x=1/a", "one");
    let (mut others, other) = stage(&mut staging, "x=2/b", "two");
    staging.seal(&mut files).unwrap();
    staging.seal(&mut others).unwrap();
    // Stopped after the first of two.
    staging.publish(std::slice::from_ref(&name)).unwrap();
    let both = [name.clone(), other];
    staging.publish(&both).unwrap();
    staging.publish(&both).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("x=1/a")).unwrap(), "one");
    assert_eq!(fs::read_to_string(folder.path().join("x=2/b")).unwrap(), "two");
    // A copy that came back, as from a backup, changes nothing.
    write(folder.path(), &name.staged, "three");
    staging.publish(&both).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("x=1/a")).unwrap(), "one");
    assert!(!folder.path().join(&name.staged).exists());
    fs::remove_file(folder.path().join("x=1/a")).unwrap();
    let lost = staging.publish(&both).unwrap_err();
    assert!(matches!(&lost, Error::Lost { path, .. } if path.ends_with("x=1/a")) && lost.is_lasting());
}

#[test]
fn a_sweep_leaves_what_is_named_and_what_a_successor_staged() {
    let folder = TempDir::new().unwrap();
    let at = |claim| Staging::open(folder.path(), "u", "s", "t", claim);
    let (mut old, kept) = stage(&mut at(9), "kept", "9");
    let (mut older, gone) = stage(&mut at(8), "gone", "8");
    let (mut newer, next) = stage(&mut at(11), "next", "11");
    let (mut elsewhere, other) = stage(&mut Staging::open(folder.path(), "u", "s", "t2", 1), "other", "1");
    for files in [&mut old, &mut older, &mut newer, &mut elsewhere] {
        at(0).seal(files).unwrap();
    }
    let stranger = write(folder.path(), "_headwater/staging/u/s/t/notes.txt", "not ours");
    at(10).sweep(std::slice::from_ref(&kept)).unwrap();
    let is_there = |name: &StagedFile| folder.path().join(&name.staged).exists();
    assert_eq!([&kept, &gone, &next, &other].map(is_there), [true, false, true, true]);
    assert!(stranger.exists());
}

#[test]
fn what_is_not_kept_goes_with_its_writer_and_empty_folders_too() {
    let folder = TempDir::new().unwrap();
    let mut staging = Staging::open(folder.path(), "u", "s", "t", 1);
    let (files, _) = stage(&mut staging, "x", "x");
    assert!(folder.path().join("_headwater/staging/u/s/t/1-0").exists());
    drop(files);
    drop(staging);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_name_that_is_taken_is_not_taken_again() {
    let folder = TempDir::new().unwrap();
    let mut first = Staging::open(folder.path(), "u", "s", "t", 1);
    let (mut files, name) = stage(&mut first, "x", "first");
    first.seal(&mut files).unwrap();
    let (_files, other) = stage(&mut Staging::open(folder.path(), "u", "s", "t", 1), "y", "second");
    assert_ne!(name.staged, other.staged);
    assert_eq!(fs::read_to_string(folder.path().join(&name.staged)).unwrap(), "first");
}
