//! What a person asks for: reloads, and ways back.

use std::sync::Arc;

use super::super::*;
use super::model::{Act, Luck, version};
use super::world::World;
use super::write;

/// A device that has run these versions, each for long enough to be good.
fn after(numbers: &[u8]) -> World {
    let mut world = World::with(&["a"]);
    for number in numbers {
        write(&mut world, *number);
        world.finish();
    }
    world
}

fn runs(world: &World) -> Option<VersionHash> {
    world.threads["a"].runs
}

#[test]
fn what_somebody_went_back_from_stays_away_until_it_is_wished_for() {
    let mut world = after(&[0, 1]);
    assert_eq!(world.roll_back("a"), Ok(version(0)));
    world.finish();
    assert_eq!((runs(&world), world.returns), (Some(version(0)), 0));
    let view = world.versions.plugin("meter").unwrap();
    assert!(view.refusal.unwrap().contains("went back from it"));
    assert_eq!(world.records["a"].refused[0].by, RefusedBy::Person);
    // Neither another look at the file nor another daemon is a wish.
    world.act(&Act::Rescan);
    world.finish();
    assert_eq!(runs(&world), Some(version(0)));
    world.start();
    world.finish();
    assert_eq!(runs(&world), Some(version(0)));
    // A reload is, and so is a save.
    world.reload("a", false);
    world.finish();
    assert_eq!(runs(&world), Some(version(1)));
    assert_eq!(world.roll_back("a"), Ok(version(0)));
    world.finish();
    write(&mut world, 1);
    world.finish();
    assert_eq!(runs(&world), Some(version(1)));
    assert_eq!(world.roll_back("a"), Ok(version(0)));
    world.finish();
    write(&mut world, 2);
    world.finish();
    assert_eq!(runs(&world), Some(version(2)));
}

#[test]
fn one_goes_back_step_by_step_and_not_beyond_the_first() {
    let mut world = after(&[0, 1, 2]);
    for back in [1, 0] {
        assert_eq!(world.roll_back("a"), Ok(version(back)));
        world.finish();
        assert_eq!(runs(&world), Some(version(back)));
    }
    assert_eq!(world.roll_back("a"), Err(NoRollback::NoEarlier));
    assert_eq!(world.versions.roll_back("b"), Err(NoRollback::UnknownDevice));
}

#[test]
fn a_way_back_that_does_not_go_leaves_all_as_it_was() {
    let mut world = after(&[0, 1]);
    let before = world.versions.record("a").cloned();
    assert_eq!(world.roll_back("a"), Ok(version(0)));
    assert!(world.versions.standing("a").unwrap().is_changing);
    // It is fetched from what was kept, and its swap fails.
    world.answer(0);
    assert_eq!(world.versions.roll_back("a"), Err(NoRollback::Busy));
    world.answer_by(0, Luck::Fails);
    let standing = world.versions.standing("a").unwrap();
    assert_eq!(standing.runs, Some(version(1)));
    assert_eq!(standing.in_file, InFile::Version(version(1)));
    assert!(!standing.is_changing);
    assert_eq!(world.versions.record("a").cloned(), before);
    // It may be tried again.
    assert_eq!(world.roll_back("a"), Ok(version(0)));
    world.finish();
    assert_eq!(runs(&world), Some(version(0)));
}

#[test]
fn a_refused_version_is_offered_again_by_a_forced_reload_and_by_no_other() {
    let mut world = after(&[0, 6]);
    assert_eq!((runs(&world), world.returns), (Some(version(0)), 1));
    world.reload("a", false);
    world.finish();
    assert_eq!((runs(&world), world.returns), (Some(version(0)), 1));
    let standing = world.versions.standing("a").unwrap();
    assert!(matches!(standing.in_file, InFile::Refused(hash, _) if hash == version(6)));
    world.reload("a", true);
    world.finish();
    assert_eq!((runs(&world), world.returns), (Some(version(0)), 2));
}

#[test]
fn a_reload_ends_a_quarantine_whatever_is_in_the_file() {
    for in_file in [0, 4, 6] {
        let mut world = after(&[0]);
        if in_file != 0 {
            write(&mut world, in_file);
            world.finish();
        }
        assert_eq!(runs(&world), Some(version(0)));
        world.break_down("a", true);
        world.hear_all();
        let life = world.versions.standing("a").unwrap().life;
        assert!(life.unwrap().is_quarantined());
        world.reload("a", false);
        world.finish();
        assert!(!world.threads["a"].is_quarantined, "with {in_file} in the file");
        assert_eq!(world.versions.standing("a").unwrap().life, Some(Life::Lives));
    }
}

#[test]
fn a_reload_starts_what_has_ended_its_thread() {
    let mut world = after(&[0]);
    world.end_thread("a");
    world.finish();
    assert_eq!(runs(&world), None);
    world.reload("a", false);
    assert!(world.versions.standing("a").unwrap().is_looked_at);
    world.finish();
    assert_eq!(runs(&world), Some(version(0)));
}

#[test]
fn a_reload_of_one_device_leaves_the_others_where_they_went_back_to() {
    let mut world = World::with(&["a", "b"]);
    for number in [0, 1] {
        write(&mut world, number);
        world.finish();
    }
    for device in ["a", "b"] {
        assert_eq!(world.roll_back(device), Ok(version(0)));
        world.finish();
    }
    world.reload("b", true);
    world.finish();
    assert_eq!(
        (runs(&world), world.threads["b"].runs),
        (Some(version(0)), Some(version(1)))
    );
}

#[test]
fn a_version_that_wants_more_waits_for_consent_and_the_former_one_goes_on() {
    let mut world = after(&[0]);
    write(&mut world, 9);
    world.finish();
    assert_eq!(runs(&world), Some(version(0)));
    let waiting = world.versions.plugin("meter").unwrap().waiting.unwrap();
    assert_eq!(waiting.hash, version(9));
    assert_eq!(waiting.wants, [Want::Slice("foreign".to_owned())]);
    assert_eq!(waiting.devices, [Arc::from("a")]);
    // No reload lets it in, nor does another daemon.
    world.reload("a", true);
    world.finish();
    world.start();
    world.finish();
    assert_eq!(runs(&world), Some(version(0)));
    world.consent("meter");
    world.finish();
    assert_eq!(runs(&world), Some(version(9)));
    assert_eq!(world.versions.plugin("meter").unwrap().waiting, None);
    // Consent is to what it wants: back, and forth, and over a restart, nobody is asked again.
    write(&mut world, 0);
    world.finish();
    world.start();
    write(&mut world, 9);
    world.finish();
    assert_eq!(runs(&world), Some(version(9)));
    // The next one wants a port as well, and that alone is asked for.
    write(&mut world, 11);
    world.finish();
    let waiting = world.versions.plugin("meter").unwrap().waiting.unwrap();
    assert_eq!(waiting.wants, [Want::Port("aux".to_owned())]);
    // One that wants less takes its place without a word.
    write(&mut world, 1);
    world.finish();
    assert_eq!(runs(&world), Some(version(1)));
}

#[test]
fn what_runs_first_on_a_device_is_agreed_to_by_whoever_has_bound_it() {
    let mut world = after(&[11]);
    assert_eq!(runs(&world), Some(version(11)));
    write(&mut world, 9);
    world.finish();
    assert_eq!(runs(&world), Some(version(9)));
}

#[test]
fn a_daemon_that_finds_only_a_file_that_waits_says_so_and_runs_what_was_good() {
    let mut world = after(&[0]);
    world.act(&Act::Kill);
    write(&mut world, 10);
    world.finish();
    assert_eq!(runs(&world), Some(version(0)));
    let standing = world.versions.standing("a").unwrap();
    assert!(matches!(standing.in_file, InFile::Waits(hash, _) if hash == version(10)));
}
