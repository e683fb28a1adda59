use super::super::done::{Done, Middle};
use super::super::listing::Entry;
use super::*;

const HOUR: i64 = 3_600_000_000;

fn entry(path: &str, hour: i64) -> Entry {
    Entry { path: path.into(), time: Timestamp::from_micros(hour * HOUR), bytes: 0, real: path.into() }
}

fn reload(order: Order, done: &Done) -> Done {
    Done::load(order, Some(done.position(None))).unwrap().0
}

#[test]
fn a_late_file_inside_the_window_is_read_and_an_older_one_is_not() {
    for order in [Order::Name, Order::Time] {
        let (mut done, _) = Done::load(order, None).unwrap();
        done.begin(Timestamp::from_micros(100 * HOUR));
        for old in [entry("a/1", 10), entry("a/2", 80), entry("a/3", 100)] {
            assert!(!done.has(&old));
            done.finish(&old);
        }
        done.end();
        let mut done = reload(order, &done);
        assert!(["a/1", "a/2", "a/3"].iter().zip([10, 80, 100]).all(|(path, hour)| done.has(&entry(path, hour))));
        assert!(!done.has(&entry("a/0", 77)), "{order:?}");
        assert!(done.has(&entry("a/0", 75)), "{order:?}");
    }
}

#[test]
fn a_pass_by_name_over_files_of_many_days_goes_on_where_it_stopped() {
    let (mut done, _) = Done::load(Order::Name, None).unwrap();
    let files = [entry("a", 1000), entry("b", 3), entry("c", 500), entry("d", 1)];
    done.begin(Timestamp::from_micros(1000 * HOUR));
    done.finish(&files[0]);
    done.finish(&files[1]);
    let mut done = reload(Order::Name, &done);
    assert_eq!(files.each_ref().map(|file| done.has(file)), [true, true, false, false]);
    done.finish(&files[2]);
    done.finish(&files[3]);
    done.end();
    let mut done = reload(Order::Name, &done);
    assert!(files.iter().all(|file| done.has(file)));
    let text = done.position(None).0.to_string();
    assert!(text.contains("\"done\":{\"\":[\"a\"]}"), "only the window's names are kept: {text}");
}

#[test]
fn a_position_says_where_in_a_file_it_stands() {
    let (done, _) = Done::load(Order::Name, None).unwrap();
    let middle = Middle { path: "x/y".to_owned(), offset: 7 };
    let (_, loaded) = Done::load(Order::Name, Some(done.position(Some(middle.clone())))).unwrap();
    assert_eq!(loaded, Some(middle));
    assert!(Done::load(Order::Name, Some(Position(serde_json::json!({"done": 3})))).is_err());
}
