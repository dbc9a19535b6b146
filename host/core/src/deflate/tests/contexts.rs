//! When contexts open and end, and what they save.

use super::*;

fn patch(number: u64) -> String {
    format!(
        "{{\"type\":\"state.patch\",\"fromVersion\":{},\"toVersion\":{number},\"patch\":[{{\"op\":\"replace\",\"path\":\
         \"/powerMeter/lastSample/watts\",\"value\":{}.{}}},{{\"op\":\"replace\",\"path\":\"/version\",\"value\":{number}}}]}}",
        number - 1,
        90 + number % 10,
        number % 7,
    )
}

#[test]
fn patches_shrink_to_a_sixth_in_a_shared_window_and_hardly_alone() {
    let (mut ring, mut contexts) = (Ring::new(1 << 20, 0), Contexts::new());
    let mut positions = Positions::new();
    positions.set(Channel::State, ring.cursor());
    let (mut shared, mut alone) = ((None, 0), (None, 0));
    let mut plain = 0;
    for number in 1..=1000 {
        let segment = Segment {
            bytes: frame::text(patch(number).as_bytes()),
            first: number,
            last: number,
        };
        plain += segment.bytes.len();
        let mut view = View::new();
        let from = ring.end();
        ring.push(segment);
        view.insert(Channel::State, ring.view(from, usize::MAX));
        let mut pass = contexts.encode(&view, Duration::ZERO);
        let before = positions.clone();
        for (compression, (membership, total)) in [
            (Compression::Shared, &mut shared),
            (Compression::Alone, &mut alone),
        ] {
            match pass.turn(compression, membership, &before) {
                Turn::Coded(coded) => {
                    *total += coded.bytes().len();
                    *membership = Some(coded.membership());
                    positions.clone_from(coded.after());
                }
                _ => positions.set(Channel::State, ring.cursor()),
            }
            if membership.is_none() {
                pass.would_join(compression, &positions);
            }
        }
        contexts.end_pass(pass, Duration::ZERO);
    }
    println!("plain {plain}, shared {}, alone {}", shared.1, alone.1);
    assert!(shared.1 * 6 < plain, "{} of {plain}", shared.1);
    assert!(alone.1 < plain, "{} of {plain}", alone.1);
}

fn coded(contexts: &mut Contexts, ring: &mut Ring, now_ms: u64) -> (Pass, Option<Arc<Coded>>, View) {
    let from = ring.end();
    let number = ring.cursor().covered + 1;
    ring.push(segment(Channel::State, number..=number, 10));
    let mut view = View::new();
    view.insert(Channel::State, ring.view(from, usize::MAX));
    let pass = contexts.encode(&view, Duration::from_millis(now_ms));
    let coded = pass.coded().next().and_then(|(_, coded)| coded.cloned());
    (pass, coded, view)
}

#[test]
fn a_client_that_comes_and_goes_opens_a_context_no_more_than_four_times_a_second() {
    let (mut contexts, mut ring) = (Contexts::new(), Ring::new(1 << 20, 0));
    let mut positions = Positions::new();
    positions.set(Channel::State, ring.cursor());
    let mut member = None;
    let mut opened = 0;
    for ms in (0..10_000).step_by(20) {
        let (mut pass, coded, _) = coded(&mut contexts, &mut ring, ms);
        opened += usize::from(coded.is_some_and(|coded| coded.opens));
        if let Turn::Coded(coded) = pass.turn(Compression::Shared, &mut member, &positions) {
            member = Some(coded.membership());
        }
        positions.set(Channel::State, ring.cursor());
        // Somebody always wants to join.
        pass.would_join(Compression::Shared, &positions);
        contexts.end_pass(pass, Duration::from_millis(ms));
    }
    assert!((30..=41).contains(&opened), "{opened} times in ten seconds");
}

#[test]
fn a_context_opens_for_whoever_waits_and_now_and_then_anyway_and_ends_with_its_last_member() {
    let (mut contexts, mut ring) = (Contexts::new(), Ring::new(1 << 20, 0));
    let mut positions = Positions::new();
    positions.set(Channel::State, ring.cursor());
    let mut member = None;
    let mut opens = Vec::new();
    for n in 0..600 {
        // From the four hundredth on somebody else waits.
        let (mut pass, coded, _) = coded(&mut contexts, &mut ring, 0);
        if coded.is_some_and(|coded| coded.opens) {
            opens.push(n);
        }
        if let Turn::Coded(coded) = pass.turn(Compression::Shared, &mut member, &positions) {
            member = Some(coded.membership());
        } else {
            pass.would_join(Compression::Shared, &{
                let mut positions = Positions::new();
                positions.set(Channel::State, ring.cursor());
                positions
            });
        }
        positions.set(Channel::State, ring.cursor());
        if n >= 400 {
            pass.would_join(Compression::Shared, &positions);
        }
        contexts.end_pass(pass, Duration::ZERO);
    }
    assert_eq!(opens, [1, 257, 401, 465, 529, 593]);
    assert!(!contexts.is_empty());
    let (pass, _, _) = coded(&mut contexts, &mut ring, 0);
    contexts.end_pass(pass, Duration::ZERO);
    assert!(contexts.is_empty());
}

#[test]
fn a_burst_beyond_the_bound_goes_out_as_it_is_and_the_window_goes_on() {
    let (mut contexts, mut ring) = (Contexts::new(), Ring::new(8 << 20, 0));
    let mut positions = Positions::new();
    positions.set(Channel::State, ring.cursor());
    let mut member = None;
    let mut browser = Browser::default();
    for n in 1..=20_u64 {
        let from = ring.end();
        // Each third segment is larger than what a pass codes.
        let padding = if n % 3 == 0 { 20_000 } else { 10 };
        ring.push(segment(Channel::State, n..=n, padding));
        ring.push(segment(Channel::State, n..=n, 5));
        let mut view = View::new();
        view.insert(Channel::State, ring.view(from, usize::MAX));
        let mut pass = contexts.encode(&view, Duration::ZERO);
        if let Turn::Coded(coded) = pass.turn(Compression::Shared, &mut member, &positions) {
            browser.take(coded.bytes());
            member = Some(coded.membership());
        }
        positions.set(Channel::State, ring.cursor());
        if member.is_none() {
            pass.would_join(Compression::Shared, &positions);
        }
        contexts.end_pass(pass, Duration::ZERO);
    }
    assert_eq!(browser.messages.len(), 38);
    assert_eq!(
        browser.compressed,
        38 - 2 * 6,
        "what follows the large one in its pass waits for no coder either"
    );
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_is_compressed_apart_is_read_by_whoever_reads_anything_before_it(
        texts in proptest::collection::vec("[a-d]{0,500}", 1..10),
        compression in prop_oneof![Just(Compression::Shared), Just(Compression::Alone)],
    ) {
        let frames: Vec<Bytes> = texts.iter().map(|t| frame::text(t.as_bytes())).collect();
        let mut browser = Browser::default();
        let mut meant = Vec::new();
        for _ in 0..2 {
            if let Some(bytes) = compress_apart(compression, &frames) {
                prop_assert!(bytes.len() < frames.iter().map(Bytes::len).sum());
                if compression == Compression::Alone {
                    browser.inflater.forget();
                }
                browser.take(&bytes);
                meant.extend(texts.clone());
            }
        }
        prop_assert_eq!(&browser.messages, &meant);
    }
}

#[test]
fn many_clients_of_a_ninth_kind_share_a_context_and_the_smallest_one_makes_room() {
    let mut contexts = Contexts::new();
    let mut rings: Vec<Ring> = (0..=CONTEXTS).map(|_| Ring::new(1 << 20, 0)).collect();
    let channel = |kind: usize| Channel::Series(kind as u32);
    // One client of each of eight kinds, but two of the first.
    let mut clients: Vec<(usize, Positions, Option<Membership>)> = Vec::new();
    let join = |clients: &mut Vec<_>, rings: &[Ring], kind: usize| {
        let mut positions = Positions::new();
        positions.set(channel(kind), rings[kind].cursor());
        clients.push((kind, positions, None));
    };
    for kind in (0..CONTEXTS).chain([0]) {
        join(&mut clients, &rings, kind);
    }
    let mut number = 0;
    let mut pass_over = |clients: &mut Vec<(usize, Positions, Option<Membership>)>, rings: &mut [Ring]| {
        number += 1;
        let mut view = View::new();
        for (kind, ring) in rings.iter_mut().enumerate() {
            ring.push(Segment {
                bytes: frame::text(patch(number).as_bytes()),
                first: number,
                last: number,
            });
            view.insert(channel(kind), ring.view(number - 1, usize::MAX));
        }
        // Each pass is long enough after the last for a context to open.
        let now = Duration::from_secs(number);
        let mut pass = contexts.encode(&view, now);
        let mut coded_kinds = Vec::new();
        for (kind, positions, membership) in clients {
            match pass.turn(Compression::Shared, membership, positions) {
                Turn::Coded(coded) => {
                    *positions = coded.after().clone();
                    *membership = Some(coded.membership());
                    coded_kinds.push(*kind);
                }
                Turn::UpToDate => panic!("there is news for everybody"),
                Turn::Plain => {
                    let Next::Write(batch) = view.next(positions) else {
                        panic!("there is news for everybody");
                    };
                    let complete = batch.complete().clone();
                    *positions = complete;
                    pass.would_join(Compression::Shared, positions);
                }
            }
        }
        contexts.end_pass(pass, now);
        coded_kinds
    };
    pass_over(&mut clients, &mut rings);
    assert_eq!(pass_over(&mut clients, &mut rings), [0, 1, 2, 3, 4, 5, 6, 7, 0]);
    // Two more of another kind are not enough to take a place from one.
    join(&mut clients, &rings, CONTEXTS);
    join(&mut clients, &rings, CONTEXTS);
    for _ in 0..5 {
        assert_eq!(pass_over(&mut clients, &mut rings).len(), 9);
    }
    // Three are.
    join(&mut clients, &rings, CONTEXTS);
    for _ in 0..3 {
        pass_over(&mut clients, &mut rings);
    }
    for _ in 0..5 {
        let coded = pass_over(&mut clients, &mut rings);
        assert_eq!(coded.iter().filter(|kind| **kind == CONTEXTS).count(), 3);
        assert_eq!(
            coded.iter().filter(|kind| **kind == 0).count(),
            2,
            "the larger one stays"
        );
        assert_eq!(coded.len(), 9 + 3 - 1);
    }
}
