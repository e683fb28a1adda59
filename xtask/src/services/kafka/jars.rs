//! Apache Kafka from Maven Central, fetched once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::context::Context;
use crate::process::{program, run};
use crate::report::say;
use crate::setup;

/// The version that is tested against.
pub(crate) const VERSION: &str = "4.1.1";

/// Kafka writes its log with this.
const LOG4J: &str = "2.24.3";

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// A registry that fails once often answers the next time.
const ATTEMPTS: usize = 3;

/// The folder of the jars, fetched when it isn't there.
pub(crate) fn jars(context: &Context) -> Result<PathBuf> {
    fs::create_dir_all(&context.cache).with_context(|| format!("make the folder {}", context.cache.display()))?;
    // Services that start side by side need this only once.
    let lock = context.cache.join(format!("kafka-{VERSION}.lock"));
    let lock =
        File::options().create(true).append(true).open(&lock).with_context(|| format!("open {}", lock.display()))?;
    lock.lock().context("wait for another who fetches Apache Kafka")?;
    setup::java(context)?;
    let home = context.cache.join(format!("kafka-{VERSION}"));
    let jars = home.join("lib");
    if jars.is_dir() {
        return Ok(jars);
    }
    setup::maven(context)?;
    // Beside its place, so that nobody ever sees half a folder.
    let fresh = context.cache.join(format!("kafka-{VERSION}.tmp"));
    drop(fs::remove_dir_all(&fresh));
    fetch(context, &fresh)?;
    fs::rename(&fresh, &home).with_context(|| format!("move {} into place", home.display()))?;
    Ok(jars)
}

fn fetch(context: &Context, folder: &Path) -> Result<()> {
    say(format_args!("fetching Apache Kafka {VERSION} from Maven Central into {}, once", context.cache.display()));
    fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    let pom = folder.join("pom.xml");
    fs::write(&pom, project()).with_context(|| format!("write {}", pom.display()))?;
    let mut maven = program(context, "mvn");
    maven.current_dir(folder).args(["--quiet", "--batch-mode", "-Dstyle.color=never", COPY, "-DincludeScope=runtime"]);
    maven.arg("-DoutputDirectory=lib");
    for attempt in 1..=ATTEMPTS {
        let done = run(&mut maven);
        match done {
            Ok(()) => break,
            Err(error) if attempt < ATTEMPTS => say(format_args!("{error:#}; trying again")),
            Err(error) => return Err(error).context("fetch Apache Kafka from Maven Central"),
        }
    }
    let broker = folder.join(format!("lib/kafka_2.13-{VERSION}.jar"));
    ensure!(broker.exists(), "Maven ended well but brought no {}", broker.display());
    Ok(())
}

/// What Maven is asked for.
fn project() -> String {
    let wanted = [
        ("org.apache.kafka", "kafka_2.13", VERSION),
        ("org.apache.kafka", "kafka-tools", VERSION),
        ("org.apache.logging.log4j", "log4j-core", LOG4J),
        ("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J),
    ];
    let wanted: Vec<String> = wanted
        .iter()
        .map(|(group, artifact, version)| {
            format!(
                "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                 <version>{version}</version></dependency>\n"
            )
        })
        .collect();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  \
         <groupId>dev.headwater</groupId>\n  <artifactId>kafka</artifactId>\n  <version>0</version>\n  \
         <dependencies>\n{}  </dependencies>\n</project>\n",
        wanted.concat()
    )
}
