use std::collections::BTreeSet;

use super::super::source::{Files, Reader};
use super::*;
use crate::Scan;

const LIMIT: Limit = Limit { rows: 1000, bytes: 64 };

fn spec(path: &str) -> SourceSpec {
    SourceSpec { path: Paths::One(path.to_owned()), ..SourceSpec::default() }
}

fn open(folder: &Path, spec: &SourceSpec, framed: Framed, position: Option<Position>) -> Files {
    let clock = Clock::manual(Timestamp::from_millis(0));
    open_at(folder, spec, framed, position, &clock)
}

fn open_at(folder: &Path, spec: &SourceSpec, framed: Framed, position: Option<Position>, clock: &Clock) -> Files {
    let reader = Reader { folder: folder.to_owned(), shard: (0, 1), clock: clock.clone(), until_idle: false };
    Files::open(spec, framed, reader, position).unwrap()
}

/// Messages as `origin: text`, with the header's text in front where there is one.
fn messages(chunk: &Chunk) -> Vec<String> {
    let ranges = chunk.ranges();
    let header = chunk.header.as_ref().map_or(String::new(), |header| format!("{} ", text(header).trim_end()));
    let message = |(number, range): (usize, &(usize, usize))| {
        let Origin { input, offset } = chunk.origin(number, &ranges);
        format!("{header}{input}@{offset}: {}", text(&chunk.bytes[range.0..range.1]))
    };
    ranges.iter().enumerate().map(message).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What is left, and how many chunks it took.
fn drain(files: &mut Files, limit: Limit) -> (Vec<String>, usize) {
    let (mut all, mut chunks) = (Vec::new(), 0);
    loop {
        match files.read(limit).unwrap() {
            Read::Chunk(chunk) => {
                assert!(chunk.len() == 1 || chunk.bytes.len() <= limit.bytes, "{} bytes", chunk.bytes.len());
                all.extend(messages(&chunk));
                chunks += 1;
            }
            Read::Bad { chunk, reason } => {
                let origin = &chunk.origins[0].1;
                all.push(format!(
                    "bad {}@{}: {} ({})",
                    origin.input,
                    origin.offset,
                    text(&chunk.bytes),
                    reason.message
                ));
            }
            Read::Columns(columns, origin) => {
                let numbers = columns.column(0).as_primitive::<Int64Type>();
                all.push(format!("{}@{}: {:?}", origin.input, origin.offset, &numbers.values()[..]));
            }
            Read::End | Read::Idle { .. } => return (all, chunks),
        }
    }
}

/// Stops after each read, and goes on from the stored position: nothing lost, nothing twice.
fn resumes(folder: &Path, spec: &SourceSpec, framed: &dyn Fn() -> Framed) {
    for limit in [1, 2, 5, 9, 20, 64, 1 << 20].map(|bytes| Limit { rows: 3, bytes }) {
        let (whole, _) = drain(&mut open(folder, spec, framed(), None), limit);
        let (mut pieces, mut position) = (Vec::new(), None);
        loop {
            let mut files = open(folder, spec, framed(), position);
            match files.read(limit).unwrap() {
                Read::Chunk(chunk) => pieces.extend(messages(&chunk)),
                Read::End => break,
                other => panic!("{other:?}"),
            }
            position = Some(files.position());
        }
        assert_eq!(pieces, whole, "{limit:?}");
        assert!(!whole.is_empty());
    }
}

#[test]
fn names_are_read_in_order_and_hidden_ones_passed_over() {
    let folder = TempDir::new().unwrap();
    for name in ["in/b", "in/a/z", "in/_c", "in/.d", "in/_headwater/e", "in/.f/g", "other"] {
        write(folder.path(), name, format!("{name}\n"));
    }
    let (all, chunks) = drain(&mut open(folder.path(), &spec("in/**"), lines(), None), LIMIT);
    assert_eq!((all, chunks), (vec!["in/a/z@0: in/a/z".to_owned(), "in/b@0: in/b".to_owned()], 1));
    let (all, _) = drain(&mut open(folder.path(), &spec("in"), lines(), None), LIMIT);
    assert_eq!(all.len(), 2);
    let globs = Paths::Many(vec!["in/*".to_owned(), "in/b".to_owned(), "in/_headwater/*".to_owned()]);
    let named = SourceSpec { path: globs, ..SourceSpec::default() };
    let (all, _) = drain(&mut open(folder.path(), &named, lines(), None), LIMIT);
    assert_eq!(all, ["in/_headwater/e@0: in/_headwater/e", "in/b@0: in/b"]);
    let looked = look(&named, folder.path()).unwrap();
    assert_eq!((looked.files, looked.bytes, &*looked.listed[0].path), (2, 21, "in/_headwater/e"));
}

#[test]
fn small_files_share_a_chunk_and_keep_their_origins() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "a", "\n\r\none\n\ntwo");
    write(folder.path(), "b", "");
    write(folder.path(), "c", "three\n");
    write(folder.path(), "d", "\n");
    write(folder.path(), "e", "four\r\nfive");
    let (all, chunks) = drain(&mut open(folder.path(), &spec("*"), lines(), None), LIMIT);
    assert_eq!(all, ["a@3: one", "a@8: two", "c@0: three", "e@0: four", "e@6: five"]);
    assert_eq!(chunks, 1);
    resumes(folder.path(), &spec("*"), &lines);
}

#[test]
fn headers_are_carried_and_files_with_the_same_one_joined() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "a", "h\none\ntwo");
    write(folder.path(), "b", "h\nthree\n");
    write(folder.path(), "c", "other\nfour\nfive\n");
    write(folder.path(), "d", "other\n");
    let (all, chunks) = drain(&mut open(folder.path(), &spec("*"), headed(), None), LIMIT);
    assert_eq!(all, ["h a@2: one", "h a@6: two", "h b@2: three", "other c@6: four", "other c@11: five"]);
    assert_eq!(chunks, 2);
    resumes(folder.path(), &spec("*"), &headed);
}

#[test]
fn every_offset_can_be_resumed_packed_or_not() {
    let folder = TempDir::new().unwrap();
    let content: Vec<String> = (0..40).map(|number| format!("line {number}")).collect();
    let content = content.join(
        "
",
    ) + "
";
    let (front, back) = content.split_at(123);
    let gzip = |text: &str| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
    write(folder.path(), "a", &content);
    write(folder.path(), "b.gz", [gzip(front), gzip(back)].concat());
    write(folder.path(), "c.zst", [zstd(front), zstd(back)].concat());
    let (all, _) = drain(&mut open(folder.path(), &spec("*"), lines(), None), LIMIT);
    assert_eq!(all.len(), 120);
    assert_eq!(all[119], "c.zst@302: line 39");
    resumes(folder.path(), &spec("*"), &lines);
    resumes(folder.path(), &spec("*"), &headed);
}

#[test]
fn frames_and_whole_files_are_joined() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "a", b"\x01x\x02yy");
    write(folder.path(), "b", b"\x03zzz");
    write(folder.path(), "c", b"\x04big!".repeat(20));
    let (all, chunks) = drain(&mut open(folder.path(), &spec("*"), frames(false), None), LIMIT);
    assert_eq!(all[..3], ["a@0: \u{1}x", "a@2: \u{2}yy", "b@0: \u{3}zzz"]);
    assert_eq!((all.len(), chunks), (23, 2));
    resumes(folder.path(), &spec("*"), &|| frames(false));
    let (all, chunks) = drain(&mut open(folder.path(), &spec("*"), frames(true), None), LIMIT);
    assert_eq!(all[..2], ["a@0: \u{1}x\u{2}yy", "b@0: \u{3}zzz"]);
    assert_eq!(all[2], "c@0: \u{4}big!", "a file that is larger than a chunk is cut");
    assert_eq!((all.len(), chunks), (22, 3));
    resumes(folder.path(), &spec("*"), &|| frames(true));
}

#[test]
fn what_cannot_be_cut_is_handed_over_as_bad_and_the_next_file_read() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "a", b"\x01x\xffbroken");
    write(folder.path(), "b", b"\x05cut");
    write(folder.path(), "c", b"\x01y");
    let mut files = open(folder.path(), &spec("*"), frames(false), None);
    let (all, _) = drain(&mut files, LIMIT);
    let expected = ["a@0: \u{1}x", "bad a@2: \u{fffd}broken (no frame)", "bad b@0: \u{5}cut (no frame)", "c@0: \u{1}y"];
    assert_eq!(all, expected);
    assert!(drain(&mut open(folder.path(), &spec("*"), frames(false), Some(files.position())), LIMIT).0.is_empty());
}

#[test]
fn a_broken_archive_gives_what_comes_before_the_break() {
    let folder = TempDir::new().unwrap();
    let content: Vec<String> = (0..2000).map(|number| format!("line {}", number * 7919 % 10007)).collect();
    let content = content.join(
        "
",
    );
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(content.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    write(folder.path(), "a.gz", &packed[..packed.len() / 2]);
    write(folder.path(), "b", "good\n");
    let (all, _) = drain(&mut open(folder.path(), &spec("*"), lines(), None), LIMIT);
    let (bad, good) = (&all[all.len() - 2], &all[..all.len() - 2]);
    assert!(bad.starts_with("bad a.gz@") && bad.contains("can't be unpacked"), "{bad}");
    assert!(good.len() > 100 && good.iter().zip(content.lines()).all(|(got, line)| got.ends_with(line)));
    assert_eq!(all.last().unwrap(), "b@0: good");
}

#[test]
fn a_line_that_is_too_long_costs_only_itself() {
    let folder = TempDir::new().unwrap();
    let mut content = b"first\n".to_vec();
    content.resize(content.len() + MESSAGE_BYTES_MAX + 100_000, b'x');
    content.extend(b"\nlast\n");
    let path = write(folder.path(), "a", &content);
    let mut files = open(folder.path(), &spec("a"), lines(), None);
    let limit = Limit { rows: 10, bytes: 1 << 20 };
    assert!(matches!(files.read(limit).unwrap(), Read::Chunk(chunk) if messages(&chunk) == ["a@0: first"]));
    let Read::Bad { chunk, reason } = files.read(limit).unwrap() else { panic!("it is too long") };
    assert_eq!((chunk.bytes.len(), reason.code), (MESSAGE_BYTES_MAX, ReasonCode::TooLong));
    let again = open(folder.path(), &spec("a"), lines(), Some(files.position()));
    for mut files in [files, again] {
        let at = fs::metadata(&path).unwrap().len() - 5;
        assert_eq!(drain(&mut files, limit).0, [format!("a@{at}: last")]);
    }
}

#[test]
fn a_file_that_vanished_is_passed_over() {
    let folder = TempDir::new().unwrap();
    for name in ["a", "b", "c"] {
        write(folder.path(), name, format!("{name}{}\n", "-".repeat(60)));
    }
    let mut files = open(folder.path(), &spec("*"), lines(), None);
    assert_eq!(files.lag(), Some(3));
    fs::remove_file(folder.path().join("b")).unwrap();
    assert_eq!(drain(&mut files, LIMIT).0.len(), 2);
    assert_eq!(files.lag(), Some(0));
}

#[test]
fn following_finds_new_files_and_late_ones() {
    let folder = TempDir::new().unwrap();
    let every = Every { every: document::Duration::from_secs(10) };
    let spec = SourceSpec { follow: Follow::Often(every), ..spec("in/*") };
    let clock = Clock::manual(Timestamp::from_millis(0));
    let mut files = open_at(folder.path(), &spec, lines(), None, &clock);
    let idle = |files: &mut Files, again: u64| match files.read(LIMIT).unwrap() {
        Read::Idle { again: Some(at) } => assert_eq!(at, Duration::from_secs(again)),
        other => panic!("{other:?}"),
    };
    idle(&mut files, 10);
    set_hour(&write(folder.path(), "in/b", "b\n"), 100);
    idle(&mut files, 10);
    clock.advance(Duration::from_secs(10));
    assert_eq!(drain(&mut files, LIMIT).0, ["in/b@0: b"]);
    set_hour(&write(folder.path(), "in/a", "a\n"), 90);
    idle(&mut files, 20);
    clock.advance(Duration::from_secs(10));
    assert_eq!(drain(&mut files, LIMIT).0, ["in/a@0: a"]);
    set_hour(&write(folder.path(), "in/c", "c\n"), 95);
    let mut again = open_at(folder.path(), &spec, lines(), Some(files.position()), &clock);
    assert_eq!(drain(&mut again, LIMIT).0, ["in/c@0: c"], "late, and older than what was read");
}

#[test]
fn a_run_until_idle_ends_five_seconds_after_the_last_file() {
    let folder = TempDir::new().unwrap();
    let spec = SourceSpec { follow: Follow::Whether(true), ..spec("*") };
    let clock = Clock::manual(Timestamp::from_millis(0));
    let reader = Reader { folder: folder.path().into(), shard: (0, 1), clock: clock.clone(), until_idle: true };
    let mut files = Files::open(&spec, lines(), reader, None).unwrap();
    for second in 1..=5 {
        assert!(matches!(files.read(LIMIT).unwrap(), Read::Idle { again: Some(at) } if at.as_secs() == second));
        clock.advance(Duration::from_secs(1));
    }
    assert!(matches!(files.read(LIMIT).unwrap(), Read::End));
}

#[test]
fn shards_share_all_files() {
    let folder = TempDir::new().unwrap();
    let names: BTreeSet<String> = (0..100).map(|number| format!("file-{number}")).collect();
    for name in &names {
        write(folder.path(), name, format!("{name}\n"));
    }
    let mut seen = Vec::new();
    for index in 0..3 {
        let clock = Clock::manual(Timestamp::from_millis(0));
        let reader = Reader { folder: folder.path().into(), shard: (index, 3), clock, until_idle: false };
        let (all, _) = drain(&mut Files::open(&spec("*"), lines(), reader, None).unwrap(), LIMIT);
        assert!(all.len() > 10);
        seen.extend(all);
    }
    assert_eq!(seen.len(), 100);
    let seen: BTreeSet<String> = seen.iter().map(|line| line.split('@').next().unwrap().to_owned()).collect();
    assert_eq!(seen, names);
}

#[test]
fn order_by_time_reads_the_oldest_first() {
    let folder = TempDir::new().unwrap();
    for (name, hour) in [("a", 30), ("b", 10), ("c", 200)] {
        set_hour(&write(folder.path(), name, format!("{name}{}\n", "-".repeat(40))), hour);
    }
    let spec = SourceSpec { order: Order::Time, ..spec("*") };
    let (all, _) = drain(&mut open(folder.path(), &spec, lines(), None), LIMIT);
    assert_eq!(all.iter().map(|line| &line[..1]).collect::<String>(), "bac");
    resumes(folder.path(), &spec, &lines);
}

struct ParquetScan(parquet::arrow::arrow_reader::ParquetRecordBatchReader, Option<RecordBatch>);

impl Scan for ParquetScan {
    fn next(&mut self, rows: usize) -> Result<Option<RecordBatch>, Error> {
        let next = self.1.take().or_else(|| self.0.next().map(Result::unwrap));
        Ok(next.map(|next| {
            let count = rows.min(next.num_rows());
            self.1 = Some(next.slice(count, next.num_rows() - count)).filter(|rest| rest.num_rows() > 0);
            next.slice(0, count)
        }))
    }
}

fn parquet_files() -> Framed {
    Framed::Scan(Arc::new(|file, from| {
        let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|fault| Error::World(format!("not Parquet: {fault}")))?;
        let reader = builder.with_offset(usize::try_from(from).unwrap()).build().unwrap();
        Ok(Box::new(ParquetScan(reader, None)))
    }))
}

#[test]
fn scans_resume_at_a_row_and_bad_files_are_put_aside() {
    let folder = TempDir::new().unwrap();
    for (name, first) in [("a", 0), ("c", 100)] {
        let columns = batch((first..first + 5).collect(), None).columns;
        let file = File::create(folder.path().join(name)).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, columns.schema(), None).unwrap();
        writer.write(&columns).unwrap();
        writer.close().unwrap();
    }
    write(folder.path(), "b", "no");
    let limit = Limit { rows: 3, bytes: 64 };
    let (mut all, mut position) = (Vec::new(), None);
    loop {
        let mut files = open(folder.path(), &spec("*"), parquet_files(), position);
        match files.read(limit).unwrap() {
            Read::End => break,
            Read::Columns(columns, origin) => {
                let numbers = columns.column(0).as_primitive::<Int64Type>();
                all.push(format!("{}@{}: {:?}", origin.input, origin.offset, &numbers.values()[..]));
            }
            Read::Bad { chunk, reason } => all.push(format!("bad {} {}", text(&chunk.bytes), reason.message)),
            other => panic!("{other:?}"),
        }
        position = Some(files.position());
    }
    let bad = all.remove(2);
    assert!(bad.starts_with("bad no the file can't be read from row 0 on: not Parquet: "), "{bad}");
    assert_eq!(all, ["a@0: [0, 1, 2]", "a@3: [3, 4]", "c@0: [100, 101, 102]", "c@3: [103, 104]"]);
}

#[test]
fn a_sample_is_the_first_chunk_or_the_first_file() {
    let folder = TempDir::new().unwrap();
    let sample = |framed| {
        let look = look(&spec("*"), folder.path()).unwrap();
        sample(&spec("*"), framed, look, folder.path(), LIMIT).unwrap()
    };
    assert!(sample(lines()).is_none());
    write(folder.path(), "a", "");
    write(folder.path(), "b", "one\n");
    assert!(matches!(sample(lines()), Some(Sample::Chunk(chunk)) if messages(&chunk) == ["b@0: one"]));
    assert!(matches!(sample(parquet_files()), Some(Sample::File(_, path)) if path == "a"));
}

#[test]
fn the_spec_is_checked() {
    let spec: SourceSpec = serde_json::from_value(serde_json::json!({
        "path": ["a**", "s3://b/c", ""], "follow": true, "order": "time", "shards": 0
    }))
    .unwrap();
    assert_eq!((spec.follow.every(), spec.order), (Some(Duration::from_secs(1)), Order::Time));
    let problems = source_problems(&spec, "spec.sources.x.files");
    let paths: Vec<_> = problems.iter().map(|problem| problem.path.rsplit('.').next().unwrap()).collect();
    assert_eq!(paths, ["path[0]", "path[1]", "path[2]", "shards"]);
    assert_eq!(source_problems(&SourceSpec::default(), "x").len(), 1);
}
