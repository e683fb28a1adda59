//! Queues, and who says how they are.

use indexmap::IndexMap;

use super::{Rule, Scene, ids, job};
use crate::error::Error;
use crate::settings::{QueueSettings, ScheduleSpec};
use crate::store::{Change, Changed, Declaration, Put};

pub(super) const RULES: &[Rule] = &[
    ("a_paused_queue_leases_nothing_until_it_is_resumed", pause),
    ("a_draining_queue_takes_nothing_but_children", drain),
    ("what_the_document_names_is_read_only_except_pause", owned),
    ("an_older_document_never_overwrites_a_newer_one", older),
    ("what_a_document_names_no_more_is_given_up", given_up),
    ("bad_names_and_settings_are_refused", bad),
    ("a_queue_keeps_its_settings_over_a_crash", crash),
    ("a_payload_must_match_the_schema_of_its_queue", payload),
];

fn change_queue(scene: &Scene, change: Change) -> crate::QueueInfo {
    match scene.change(change) {
        Ok(Changed::Queue(queue)) => *queue,
        other => panic!("{other:?}"),
    }
}

fn name() -> String {
    "q".to_owned()
}

fn pause(scene: &mut Scene) {
    let jobs = scene.put_many("{}", 2);
    let lease = scene.lease_one();
    assert!(change_queue(scene, Change::Pause(name())).paused);
    scene.crash();
    assert!(scene.lease(1).is_empty());
    scene.ack(&lease);
    scene.put("{}");
    assert!(!change_queue(scene, Change::Resume(name())).paused);
    assert_eq!(ids(&scene.lease(1)), jobs[1..]);
    assert!(matches!(scene.change(Change::Pause("nowhere".to_owned())), Err(Error::NotFound { .. })));
}

fn drain(scene: &mut Scene) {
    scene.put("{}");
    assert!(change_queue(scene, Change::Drain(name())).draining);
    assert!(matches!(scene.try_put("{}"), Err(Error::Draining { .. })));
    let lease = scene.lease_one();
    scene.end(&lease, r#""ack": {"enqueue": [{}]}"#).expect("held");
    let lease = scene.lease_one();
    scene.ack(&lease);
    change_queue(scene, Change::Resume(name()));
    scene.put("{}");
}

fn declare(scene: &Scene, generation: u64, queues: &[&str], schedules: &[&str]) -> Result<Changed, Error> {
    let settings = QueueSettings { attempts: u32::try_from(generation).expect("small"), ..QueueSettings::default() };
    let queues: IndexMap<_, _> = queues.iter().map(|name| ((*name).to_owned(), settings.clone())).collect();
    let spec: ScheduleSpec = serde_json::from_str(r#"{"every": "1h", "queue": "d"}"#).expect("a schedule");
    let schedules = schedules.iter().map(|name| ((*name).to_owned(), spec.clone())).collect();
    scene.change(Change::Declare(Declaration { generation, queues, schedules }))
}

fn owned(scene: &mut Scene) {
    declare(scene, 1, &["d"], &["s"]).expect("declare");
    let settings = QueueSettings::default();
    let refused = scene.change(Change::PutQueue("d".to_owned(), settings)).expect_err("refused");
    assert_eq!((refused.code(), refused.status()), ("owned_by_document", 409));
    let spec = serde_json::from_str(r#"{"every": "2h", "queue": "d"}"#).expect("a schedule");
    for change in [Change::PutSchedule("s".to_owned(), Box::new(spec)), Change::DeleteSchedule("s".to_owned())] {
        assert_eq!(scene.change(change).expect_err("refused").code(), "owned_by_document");
    }
    assert!(change_queue(scene, Change::Pause("d".to_owned())).paused);
    declare(scene, 1, &["d"], &["s"]).expect("declare again");
    assert!(scene.view().queues().wait().expect("queues").iter().any(|queue| queue.paused), "a pause stays");
}

fn older(scene: &mut Scene) {
    declare(scene, 3, &["d"], &[]).expect("declare");
    scene.crash();
    assert_eq!(declare(scene, 2, &[], &[]), Err(Error::StaleDocument { ours: 2, theirs: 3 }));
    let queues = scene.view().queues().wait().expect("queues");
    assert!(queues.iter().any(|queue| queue.name == "d" && queue.owned_by_document && queue.settings.attempts == 3));
}

fn given_up(scene: &mut Scene) {
    declare(scene, 1, &["d", "e"], &["s", "t"]).expect("declare");
    declare(scene, 2, &["d"], &["t"]).expect("declare");
    let schedules = scene.view().schedules().wait().expect("schedules");
    assert_eq!(schedules.iter().map(|schedule| schedule.name.as_str()).collect::<Vec<_>>(), ["t"]);
    scene.queue("e", r#"{"attempts": 9}"#);
}

fn bad(scene: &mut Scene) {
    for name in ["", "a b", "/", "-a", &"a".repeat(200)] {
        let refused = scene.change(Change::PutQueue(name.to_owned(), QueueSettings::default())).expect_err("refused");
        assert_eq!(refused.status(), 422, "{name}");
    }
    for text in [r#"{"attempts": 0}"#, r#"{"lease": "10ms"}"#, r#"{"concurrency": 0}"#, r#"{"depthMax": 0}"#] {
        let settings = serde_json::from_str(text).expect("settings");
        assert!(scene.change(Change::PutQueue("x".to_owned(), settings)).is_err(), "{text}");
    }
    for text in [r#"{"cron": "x", "queue": "q"}"#, r#"{"every": "1h", "queue": "nowhere"}"#, r#"{"queue": "q"}"#] {
        let spec = serde_json::from_str(text).expect("a schedule");
        assert!(scene.change(Change::PutSchedule("s".to_owned(), Box::new(spec))).is_err(), "{text}");
    }
    assert_eq!(scene.view().queues().wait().expect("queues").len(), 1);
}

fn crash(scene: &mut Scene) {
    scene.queue("q", r#"{"attempts": 7, "lease": "30s"}"#);
    scene.crash();
    scene.put("{}");
    let lease = scene.lease_one();
    assert_eq!((lease.attempts, lease.lease), (7, document::Duration::from_secs(30)));
}

fn payload(scene: &mut Scene) {
    let parent = scene.put(r#"{"payload": "before there was a schema"}"#);
    scene.queue("q", r#"{"payload": {"type": "object", "required": ["start"]}}"#);
    scene.crash();
    let refused = scene.try_put(r#"{"payload": {"end": 2004}}"#);
    assert!(matches!(&refused, Err(Error::Invalid { field, .. }) if field == "payload"), "{refused:?}");
    let good = scene.put(r#"{"payload": {"start": 2001}, "key": "k"}"#);
    let mut jobs = vec![job(r#"{"payload": {"start": 1}}"#); 20];
    jobs[7] = job(r#"{"payload": 3}"#);
    let placed = scene.store().put(Put { queue: "q".to_owned(), jobs, atomic: false }).wait().expect("put");
    let refused: Vec<usize> = (0..20).filter(|at| placed[*at].is_err()).collect();
    assert_eq!(refused, [7]);
    // Children keep the schema too: a bad one refuses the ack, and the lease is kept.
    let lease = scene.lease_one();
    assert_eq!(lease.id, parent);
    let ack = scene.end(&lease, r#""ack": {"result": 1, "enqueue": [{"payload": 1}]}"#);
    assert!(matches!(ack, Err(Error::Invalid { .. })), "{ack:?}");
    scene.ack(&lease);
    // What was taken once is known by its key, whatever the schema says by then.
    scene.queue("q", r#"{"payload": false}"#);
    assert_eq!(scene.put(r#"{"payload": {"start": 2001}, "key": "k"}"#), good);
    let bad =
        scene.change(Change::PutQueue(name(), serde_json::from_str(r#"{"payload": {"type": 3}}"#).expect("settings")));
    assert!(matches!(bad, Err(Error::Invalid { .. })), "{bad:?}");
}
