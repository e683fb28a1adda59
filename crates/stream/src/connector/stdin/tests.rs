use std::io::{PipeWriter, Write as _};

use stdx::Clock;

use super::*;
use crate::{Pool, Reason, ReasonCode, World, exercise};

/// Lines, after a header of one line that starts with `#`.
struct Lines;

impl Cut for Lines {
    fn header(&mut self, bytes: &[u8], at_end: bool) -> Result<Option<usize>, Reason> {
        match bytes.first() {
            Some(b'#') => match bytes.iter().position(|byte| *byte == b'\n') {
                Some(end) => Ok(Some(end + 1)),
                None if at_end => Err(Reason::new(ReasonCode::Malformed, "a header without an end")),
                None => Ok(None),
            },
            None if !at_end => Ok(None),
            _ => Ok(Some(0)),
        }
    }

    fn cut(&mut self, bytes: &[u8], at_end: bool, rows: usize, _: &mut Vec<u32>) -> Result<usize, Reason> {
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let end = ends.take(rows).last().unwrap_or(0);
        Ok(if at_end && (rows == usize::MAX || end == 0) { bytes.len() } else { end })
    }

    fn lines(&self) -> bool {
        true
    }
}

struct Test {
    _runtime: tokio::runtime::Runtime,
    open: OpenSource,
    input: Input,
    writer: PipeWriter,
}

impl Test {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let world = World {
            clock: Clock::system(),
            runtime: runtime.handle().clone(),
            pool: Pool::new(1 << 20),
            secrets: Arc::default(),
            folder: ".".into(),
        };
        let open = OpenSource {
            name: "in".into(),
            stream: "default.test".into(),
            starts: Arc::default(),
            position: None,
            shard: (0, 1),
            bell: Bell::default(),
            until_idle: false,
            schema: exercise::schema(),
            world,
        };
        let (reader, writer) = std::io::pipe().unwrap();
        Self { _runtime: runtime, open, input: Input::of("the pipe", Box::new(reader)), writer }
    }

    fn source(&self) -> Box<dyn Source> {
        source(self.input.clone(), Box::new(Lines), &self.open).unwrap()
    }

    /// Reads, waiting on the bell where nothing is there.
    fn next(&self, source: &mut dyn Source, limit: Limit) -> Option<Chunk> {
        loop {
            match source.read(limit).unwrap() {
                Read::Chunk(chunk) => return Some(chunk),
                Read::End => return None,
                Read::Idle { again } => {
                    assert_eq!(again, None);
                    self.open.bell.wait(&self.open.world.clock, None);
                }
                read @ (Read::Columns(..) | Read::Bad { .. }) => panic!("standard input has only messages: {read:?}"),
            }
        }
    }
}

const LIMIT: Limit = Limit { rows: usize::MAX, bytes: 1 << 20 };

#[test]
fn gives_whole_lines_as_they_come_and_then_the_end() {
    let mut test = Test::new();
    let mut source = test.source();
    assert!(matches!(source.read(LIMIT).unwrap(), Read::Idle { again: None }));
    test.writer.write_all(b"one\ntw").unwrap();
    let first = test.next(source.as_mut(), LIMIT).unwrap();
    assert_eq!((&first.bytes[..], source.position()), (&b"one\n"[..], Position(4.into())));
    assert!(matches!(source.read(LIMIT).unwrap(), Read::Idle { again: None }));
    test.writer.write_all(b"o\nthree").unwrap();
    let second = test.next(source.as_mut(), LIMIT).unwrap();
    assert_eq!((&second.bytes[..], second.origins[0].1.offset), (&b"two\n"[..], 4));
    let (_, writer) = std::io::pipe().unwrap();
    drop(std::mem::replace(&mut test.writer, writer));
    assert_eq!(&test.next(source.as_mut(), LIMIT).unwrap().bytes[..], b"three");
    assert!(test.next(source.as_mut(), LIMIT).is_none());
    assert!(matches!(source.read(LIMIT).unwrap(), Read::End));
    assert_eq!(test.open.world.pool.leased_bytes(), 0);
}

#[test]
fn what_was_looked_at_is_not_lost() {
    let mut test = Test::new();
    test.writer.write_all(b"#head\na\nb\n").unwrap();
    let seen = test.input.peek(&mut Lines, 1 << 20).unwrap();
    assert_eq!((seen.header.as_deref(), &seen.bytes[..]), (Some(&b"#head\n"[..]), &b"a\nb\n"[..]));
    let mut source = test.source();
    let read = test.next(source.as_mut(), LIMIT).unwrap();
    assert_eq!((read.header.as_deref(), &read.bytes[..]), (Some(&b"#head\n"[..]), &b"a\nb\n"[..]));
    assert_eq!((read.origins[0].1.offset, source.position()), (6, Position(10.into())));
}

#[test]
fn a_source_opened_again_goes_on_where_the_last_one_left() {
    let mut test = Test::new();
    test.writer.write_all(b"#head\na\nb\n").unwrap();
    let mut first = test.source();
    let one = Limit { rows: 1, bytes: 1 << 20 };
    assert_eq!(&test.next(first.as_mut(), one).unwrap().bytes[..], b"a\n");
    test.open.position = Some(first.position());
    drop(first);
    let mut second = test.source();
    let read = test.next(second.as_mut(), one).unwrap();
    assert_eq!((read.header.as_deref(), &read.bytes[..]), (Some(&b"#head\n"[..]), &b"b\n"[..]));
    assert_eq!(second.position(), Position(10.into()));
}

#[test]
fn reads_ahead_no_more_than_it_may() {
    let mut test = Test::new();
    let mut source = test.source();
    let mut writer = test.writer.try_clone().unwrap();
    drop(std::mem::replace(&mut test.writer, std::io::pipe().unwrap().1));
    let writing = std::thread::spawn(move || {
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..8192 {
            writer.write_all(&line).unwrap();
        }
    });
    let (mut read, mut held) = (0, 0);
    while let Some(chunk) = test.next(source.as_mut(), Limit { rows: usize::MAX, bytes: 100_000 }) {
        assert!(chunk.bytes.len() <= 100_000);
        read += chunk.bytes.len();
        held = held.max(test.open.world.pool.leased_bytes());
    }
    writing.join().unwrap();
    assert_eq!(read, 8 << 20);
    assert!(held <= (1 << 20) + 2 * READ_BYTES, "the pool's limit is kept: {held}");
}

#[test]
fn a_line_longer_than_limit_and_pool_comes_alone() {
    let mut test = Test::new();
    let mut source = test.source();
    let mut writer = test.writer.try_clone().unwrap();
    drop(std::mem::replace(&mut test.writer, std::io::pipe().unwrap().1));
    let writing = std::thread::spawn(move || {
        writer.write_all(&[vec![b'x'; 6 << 20], b"\nnext\n".to_vec()].concat()).unwrap();
    });
    let limit = Limit { rows: usize::MAX, bytes: 1000 };
    assert_eq!(test.next(source.as_mut(), limit).unwrap().bytes.len(), (6 << 20) + 1);
    assert_eq!(&test.next(source.as_mut(), limit).unwrap().bytes[..], b"next\n");
    writing.join().unwrap();
}

#[test]
fn a_broken_header_is_one_bad_message() {
    let mut test = Test::new();
    test.writer.write_all(b"#never ends").unwrap();
    drop(std::mem::replace(&mut test.writer, std::io::pipe().unwrap().1));
    let mut source = test.source();
    let chunk = test.next(source.as_mut(), LIMIT).unwrap();
    assert_eq!((&chunk.bytes[..], chunk.len()), (&b"#never ends"[..], 1));
    assert!(test.next(source.as_mut(), LIMIT).is_none());
}

#[test]
fn a_reader_that_fails_is_an_error_after_what_it_gave() {
    struct Failing(u8);
    impl std::io::Read for Failing {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Err(std::io::ErrorKind::Interrupted.into()),
                2 => {
                    out[..4].copy_from_slice(b"one\n");
                    Ok(4)
                }
                _ => Err(std::io::Error::other("the disk is on fire")),
            }
        }
    }
    let mut test = Test::new();
    test.input = Input::of("the disk", Box::new(Failing(0)));
    let mut source = test.source();
    assert_eq!(&test.next(source.as_mut(), LIMIT).unwrap().bytes[..], b"one\n");
    let error = loop {
        match source.read(LIMIT) {
            Ok(Read::Idle { .. }) => test.open.bell.wait(&test.open.world.clock, None),
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        };
    };
    assert_eq!(stdx::Chain(&error).to_string(), "read the disk: the disk is on fire");
}
