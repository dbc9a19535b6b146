//! Random histories of files, drivers, settings and restarts, against what must hold of every choice.
//!
//! A bench does what the machine says, in an order of its own: answers come late, drivers refuse or break down, the daemon is killed between
//! any two steps. The laws are checked at each action, and, after everything has been answered, on what runs.

mod model;
mod wishes;
mod world;

use std::sync::Arc;

use proptest::prelude::*;

use self::model::{Act, DEVICES, Due, Luck, PLUGINS, S, act, version};
use self::world::World;
use super::*;

fn write(world: &mut World, number: u8) {
    world.act(&Act::Write {
        plugin: 0,
        version: number,
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn every_history_ends_with_the_newest_file_or_with_what_was_good(
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut world = World::with(&DEVICES);
        for act in &acts {
            world.act(act);
        }
        world.finish();
        world.check_at_rest();
        // A daemon that starts on what is left ends in the same place.
        world.start();
        world.finish();
        world.check_at_rest();
    }
}

fn cases() -> u32 {
    match std::env::var_os("AUTOBENCH_LONG") {
        Some(_) => 200_000,
        None => 2_000,
    }
}

#[test]
fn of_files_that_come_while_one_is_prepared_only_the_newest_is_offered() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.finish();
    write(&mut world, 1);
    world.pass(QUIET_NS);
    world.answer(0);
    assert!(matches!(world.due[..], [Due::Prepare { .. }]));
    for number in [2, 3, 1, 2] {
        write(&mut world, number);
    }
    assert!(world.due.is_empty(), "what is under way is given up");
    world.pass(QUIET_NS);
    let swaps = world.swaps;
    world.finish();
    assert_eq!(
        (world.threads["a"].runs, world.swaps),
        (Some(version(2)), swaps + 1)
    );
}

#[test]
fn a_file_that_changes_during_a_swap_is_swapped_in_after_it() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.finish();
    write(&mut world, 1);
    world.pass(QUIET_NS);
    world.answer(0);
    world.answer(0);
    assert!(matches!(world.due[..], [Due::Swap { hash, .. }] if hash == version(1)));
    write(&mut world, 2);
    world.pass(QUIET_NS);
    // The newer one is ready first, and waits.
    world.answer(1);
    world.answer(1);
    assert!(matches!(world.due[..], [Due::Swap { hash, .. }] if hash == version(1)));
    world.answer(0);
    assert!(matches!(world.due[..], [Due::Swap { hash, .. }] if hash == version(2)));
}

#[test]
fn a_first_version_is_shown_while_it_is_prepared_and_a_later_one_is_not() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.pass(QUIET_NS);
    world.answer(0);
    let view = |world: &World| world.versions.plugin(PLUGINS[0]).unwrap();
    assert_eq!(
        (view(&world).is_first, view(&world).hash),
        (true, Some(version(0)))
    );
    world.finish();
    assert!(!view(&world).is_first);
    write(&mut world, 1);
    world.pass(QUIET_NS);
    world.answer(0);
    assert_eq!(
        (view(&world).is_first, view(&world).hash),
        (false, Some(version(0)))
    );
}

#[test]
fn the_hundredth_swap_is_as_the_first() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.finish();
    for swap in 1..=100 {
        write(&mut world, swap % 4);
        world.finish();
        assert_eq!(world.swaps, u64::from(swap));
        assert_eq!(world.threads["a"].runs, Some(version(swap % 4)));
        assert_eq!(world.at_hand.len(), 1);
    }
}

#[test]
fn what_breaks_down_on_probation_gives_way_to_what_ran_before_and_never_comes_back_by_itself() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.finish();
    write(&mut world, 6);
    world.finish();
    assert_eq!((world.threads["a"].runs, world.returns), (Some(version(0)), 1));
    let view = world.versions.plugin(PLUGINS[0]).unwrap();
    assert!(view.refusal.unwrap().contains("first seconds"));
    assert_eq!(
        view.described_by,
        Some(version(0)),
        "what runs describes the plugin"
    );
    // Killed with the refused file in the folder: the good one is started from what was kept, and the other not even tried.
    world.start();
    world.finish();
    assert_eq!((world.threads["a"].runs, world.returns), (Some(version(0)), 1));
    // Putting it there again is a wish.
    write(&mut world, 6);
    world.finish();
    assert_eq!((world.threads["a"].runs, world.returns), (Some(version(0)), 2));
}

#[test]
fn a_device_that_is_bound_to_another_plugin_never_goes_back_to_the_former_ones_driver() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.finish();
    assert!(world.kept.contains(&version(0)));
    // The other plugin's only version refuses to start.
    world.act(&Act::Write {
        plugin: 1,
        version: 5,
    });
    world.act(&Act::Configure {
        device: 0,
        plugin: 1,
        is_there: true,
    });
    world.finish();
    assert_ne!(world.threads["a"].runs, Some(version(0)));
    assert!(world.records["a"].good.is_empty());
    // Its file is the only place that still has it.
    world.act(&Act::Remove { plugin: 0 });
    world.finish();
    assert!(!world.kept.contains(&version(0)), "its bytes are let go of");
    world.act(&Act::Kill);
    world.finish();
    assert_ne!(world.threads["a"].runs, Some(version(0)));
}

#[test]
fn what_was_not_good_for_long_enough_is_still_what_one_goes_back_to() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.pass(QUIET_NS);
    (0..3).for_each(|_| world.answer(0));
    assert!(world.versions.record("a").unwrap().good.is_empty());
    write(&mut world, 6);
    world.finish();
    assert_eq!(world.threads["a"].runs, Some(version(0)));
}

#[test]
fn a_good_version_that_breaks_down_stays_the_drivers_own_affair() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.finish();
    write(&mut world, 1);
    world.finish();
    world.break_down("a", true);
    world.hear_all();
    assert!(world.due.is_empty());
    assert_eq!(world.threads["a"].runs, Some(version(1)));
    assert!(world.threads["a"].is_quarantined);
    // Nothing has changed when it is looked at again.
    world.act(&Act::Rescan);
    world.finish();
    assert!(world.threads["a"].is_quarantined);
    write(&mut world, 1);
    world.finish();
    assert!(!world.threads["a"].is_quarantined);
    world.break_down("a", true);
    world.hear_all();
    world.act(&Act::Settings {
        device: 0,
        are_right: true,
    });
    assert!(!world.threads["a"].is_quarantined);
}

#[test]
fn a_refused_version_is_not_tried_again_because_its_file_was_looked_at_again() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.finish();
    write(&mut world, 6);
    world.finish();
    world.act(&Act::Rescan);
    world.finish();
    assert_eq!((world.threads["a"].runs, world.returns), (Some(version(0)), 1));
    // One whose change was missed is found to be another, and tried.
    world.files.insert(PLUGINS[0].into(), version(1));
    world.written.insert((PLUGINS[0].into(), version(1)));
    world.act(&Act::Rescan);
    world.finish();
    assert_eq!(world.threads["a"].runs, Some(version(1)));
}

#[test]
fn a_kept_version_that_is_lost_is_said_and_the_next_one_taken() {
    let mut versions = Versions::default();
    let (device, plugin): (Arc<str>, Arc<str>) = ("a".into(), "meter".into());
    let record = VersionRecord {
        plugin: plugin.to_string(),
        good: vec![version(1), version(2)],
        refused: vec![RefusedVersion {
            hash: version(3),
            reason: "trap".to_owned(),
            by: RefusedBy::Device,
        }],
        consented: None,
    };
    versions.device_added(&device, &plugin, record, Granted::default());
    versions.file_found(&plugin);
    versions.read(&plugin, 1, version(3));
    versions.prepared(&plugin, 1, Wants::default());
    let actions = |versions: &mut Versions| std::iter::from_fn(|| versions.next_action()).collect::<Vec<_>>();
    let fetch = |hash| Action::Fetch {
        device: Arc::clone(&device),
        hash,
    };
    assert!(actions(&mut versions).contains(&fetch(version(1))));
    versions.not_fetched("a", version(1));
    assert!(actions(&mut versions).contains(&fetch(version(2))));
    versions.not_fetched("a", version(2));
    let reason = "trap".to_owned();
    assert!(actions(&mut versions).contains(&Action::Down { device, reason }));
}

#[test]
fn what_its_file_has_brought_stays_good_although_what_was_kept_of_it_is_lost() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.finish();
    write(&mut world, 4);
    world.finish();
    // With a file that is no driver, the good version is fetched.
    world.start();
    (0..2).for_each(|_| world.answer(0));
    assert!(matches!(world.due[..], [Due::Fetch { .. }]));
    // It comes as a file meanwhile, and runs.
    write(&mut world, 0);
    world.pass(QUIET_NS);
    (0..3).for_each(|_| world.answer(1));
    world.hear_all();
    assert_eq!(world.threads["a"].runs, Some(version(0)));
    world.answer_by(0, Luck::Fails);
    assert_eq!(world.records["a"].good, [version(0)]);
}

#[test]
fn what_broke_down_as_it_was_swapped_is_nothing_to_go_back_to() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.finish();
    write(&mut world, 1);
    world.pass(QUIET_NS);
    (0..3).for_each(|_| world.answer(0));
    world.hear_all();
    assert_eq!(world.threads["a"].runs, Some(version(1)));
    write(&mut world, 6);
    world.pass(QUIET_NS);
    (0..2).for_each(|_| world.answer(0));
    assert!(matches!(world.due[..], [Due::Swap { hash, .. }] if hash == version(6)));
    world.answer_by(0, Luck::BreaksDown);
    world.hear_all();
    // The new one breaks down too, and what is left is what was good.
    world.finish();
    assert_eq!(world.threads["a"].runs, Some(version(0)));
}

#[test]
fn what_came_back_and_broke_down_is_nothing_to_go_back_to_again() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.pass(QUIET_NS);
    (0..3).for_each(|_| world.answer(0));
    world.hear_all();
    write(&mut world, 6);
    world.pass(QUIET_NS);
    // Read, prepared, swapped in, broken down, and swapped out.
    (0..4).for_each(|_| world.answer(0));
    world.hear_all();
    world.answer(0);
    assert_eq!((world.threads["a"].runs, world.returns), (Some(version(0)), 1));
    world.break_down("a", true);
    world.hear_all();
    write(&mut world, 6);
    world.finish();
    assert_eq!((world.threads["a"].runs, world.returns), (Some(version(6)), 1));
}

#[test]
fn a_device_whose_thread_has_ended_stays_down_until_its_file_or_its_settings_are_new() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.finish();
    let end = |world: &mut World| {
        world.end_thread("a");
        world.finish();
        assert_eq!(world.threads["a"].runs, None);
    };
    end(&mut world);
    // Nothing is new.
    world.act(&Act::Rescan);
    world.finish();
    assert_eq!(world.threads["a"].runs, None);
    write(&mut world, 1);
    world.finish();
    assert_eq!(world.threads["a"].runs, Some(version(1)));
    end(&mut world);
    // The same once more is a wish.
    write(&mut world, 1);
    world.finish();
    assert_eq!(world.threads["a"].runs, Some(version(1)));
    end(&mut world);
    world.act(&Act::Settings {
        device: 0,
        are_right: true,
    });
    world.finish();
    assert_eq!(world.threads["a"].runs, Some(version(1)));
    assert_eq!(world.records["a"].good, [version(1), version(0)]);
}

#[test]
fn what_ends_its_thread_on_probation_gives_way_to_what_ran_before() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.finish();
    // Its swap is lost with the thread, and so is the thread that it is started in then.
    write(&mut world, 8);
    world.finish();
    assert_eq!((world.threads["a"].runs, world.returns), (Some(version(0)), 1));
    let view = world.versions.plugin(PLUGINS[0]).unwrap();
    assert!(view.refusal.unwrap().contains("thread"));
    assert_eq!(world.records["a"].good, [version(0)]);
    assert!(world.records["a"].refused.is_empty(), "the fault is the daemon's");
    // Another daemon may do better; this one brings the good version from what was kept.
    world.start();
    world.finish();
    assert_eq!((world.threads["a"].runs, world.returns), (Some(version(0)), 2));
    world.act(&Act::Settings {
        device: 0,
        are_right: true,
    });
    world.finish();
    assert_eq!((world.threads["a"].runs, world.returns), (Some(version(0)), 3));
}

#[test]
fn what_ends_its_thread_stays_down_where_there_is_nothing_to_go_back_to() {
    let mut world = World::with(&["a"]);
    write(&mut world, 8);
    world.finish();
    assert_eq!((world.threads["a"].runs, world.returns), (None, 0));
    assert_eq!(world.versions.plugin(PLUGINS[0]).unwrap().refusal, None);
    write(&mut world, 0);
    world.finish();
    assert_eq!(world.threads["a"].runs, Some(version(0)));
}

#[test]
fn a_version_that_comes_while_nobody_knows_yet_that_the_thread_has_ended_is_started() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.finish();
    write(&mut world, 1);
    world.pass(QUIET_NS);
    (0..2).for_each(|_| world.answer(0));
    assert!(matches!(world.due[..], [Due::Swap { .. }]));
    world.end_thread("a");
    world.answer(0);
    world.finish();
    assert_eq!(world.threads["a"].runs, Some(version(1)));
    // The same with new settings, which come before the answer.
    write(&mut world, 2);
    world.pass(QUIET_NS);
    (0..2).for_each(|_| world.answer(0));
    assert!(matches!(world.due[..], [Due::Swap { .. }]));
    world.end_thread("a");
    world.hear_all();
    world.act(&Act::Settings {
        device: 0,
        are_right: true,
    });
    world.finish();
    assert_eq!(world.threads["a"].runs, Some(version(2)));
}

#[test]
fn a_look_at_a_file_that_went_says_nothing_about_the_file_that_came_after_it() {
    let mut versions = Versions::default();
    let plugin: Arc<str> = "meter".into();
    let look = |versions: &mut Versions| {
        std::iter::from_fn(|| versions.next_action())
            .find_map(|action| match action {
                Action::Read { look, .. } => Some(look),
                _ => None,
            })
            .unwrap()
    };
    versions.file_changed(&plugin, 0);
    versions.time(QUIET_NS);
    let given_up = look(&mut versions);
    versions.file_changed(&plugin, S);
    versions.time(3 * S);
    let gone = look(&mut versions);
    versions.unreadable(&plugin, gone, Unreadable::Gone, 3 * S);
    assert!(versions.plugin(&plugin).is_none());
    versions.file_changed(&plugin, 4 * S);
    versions.time(5 * S);
    assert_ne!(look(&mut versions), given_up);
    versions.read(&plugin, given_up, version(1));
    assert_eq!(versions.next_action(), None);
}

#[test]
fn a_file_that_is_not_whole_has_a_second_to_become_so() {
    let mut versions = Versions::default();
    let plugin: Arc<str> = "meter".into();
    versions.file_changed(&plugin, 0);
    let look = |versions: &mut Versions, now_ns| {
        versions.time(now_ns);
        let Some(Action::Read { look, .. }) = versions.next_action() else {
            panic!("it is not looked at");
        };
        look
    };
    let first = look(&mut versions, QUIET_NS);
    let why = || Unreadable::Incomplete("it is empty".to_owned());
    versions.unreadable(&plugin, first, why(), QUIET_NS);
    assert_eq!(versions.next_action(), None);
    assert_eq!(versions.next_deadline_ns(), Some(S));
    let second = look(&mut versions, S);
    versions.unreadable(&plugin, second, why(), S);
    assert!(matches!(versions.next_action(), Some(Action::Refuse { .. })));
    // Told once, however often it is looked at.
    assert!(matches!(versions.next_action(), Some(Action::Publish { .. })));
    versions.file_changed(&plugin, 2 * S);
    let third = look(&mut versions, 4 * S);
    versions.unreadable(&plugin, third, why(), 4 * S);
    assert!(!matches!(versions.next_action(), Some(Action::Refuse { .. })));
}

#[test]
fn a_device_without_a_file_says_so_and_starts_when_it_comes() {
    let mut versions = Versions::default();
    let (device, plugin): (Arc<str>, Arc<str>) = ("a".into(), "meter".into());
    let record = VersionRecord {
        plugin: plugin.to_string(),
        good: vec![version(1)],
        ..VersionRecord::default()
    };
    let actions = |versions: &mut Versions| std::iter::from_fn(|| versions.next_action()).collect::<Vec<_>>();
    let missing = Action::Missing {
        device: Arc::clone(&device),
    };
    versions.device_added(&device, &plugin, record, Granted::default());
    // What is kept of it is not run: without its file a plugin is removed.
    assert_eq!(actions(&mut versions), std::slice::from_ref(&missing));
    versions.file_changed(&plugin, 0);
    versions.time(QUIET_NS);
    versions.read(&plugin, 2, version(1));
    versions.prepared(&plugin, 2, Wants::default());
    let starts = |action: &Action| matches!(action, Action::Start { .. });
    assert!(actions(&mut versions).iter().any(starts));
    // One that could not be started, and whose file goes, is without it as well.
    versions.not_started("a", version(1), "no thread".to_owned());
    versions.file_changed(&plugin, QUIET_NS);
    versions.time(2 * QUIET_NS);
    versions.unreadable(&plugin, 4, Unreadable::Gone, QUIET_NS + GRACE_NS);
    assert!(actions(&mut versions).contains(&missing));
}

#[test]
fn files_are_not_gone_while_their_folder_is() {
    let mut world = World::with(&["a"]);
    write(&mut world, 0);
    world.finish();
    world.versions.folder(false);
    world.files.clear();
    world.versions.file_changed(&PLUGINS[0].into(), world.now_ns);
    world.finish();
    assert_eq!(world.threads["a"].runs, Some(version(0)));
    world.versions.folder(true);
    world.versions.file_changed(&PLUGINS[0].into(), world.now_ns);
    world.finish();
    assert_eq!(world.threads["a"].runs, None);
}
