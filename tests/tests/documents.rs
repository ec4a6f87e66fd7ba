//! The pages that people follow line by line, followed line by line: every `sh` block of docs/deploy.md and docs/ceremony.md runs, in its
//! order, as root in namespaces of its own, where `/etc` is a copy and `/var/lib` and `/root` are empty. Nothing in a block is replaced.
//!
//! A block that begins with a comment of nothing but a file's name is written to that file. A block after the HTML comment "not run by
//! the test: …" is left out, and after "run by the test at the end …" it runs when the daemon runs.
#![cfg(feature = "stack")]

use std::{env, fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tests::tree::read;

const LEFT_OUT: &str = "not run by the test";
const AT_THE_END: &str = "run by the test at the end";
/// Reasons that say less are none.
const LEAST_REASON: usize = 20;
const END_OF_FILE: &str = "END_OF_THE_FILE_OF_THE_PAGE";

/// What is done before the first block. `$1` is an empty folder, `$2` the program.
const PLACE: &str = "\
mkdir \"$1/etc\" \"$1/bin\"
cp -a /etc/. \"$1/etc\"
cp \"$2\" \"$1/bin/signer\"
chmod 0755 \"$1\" \"$1/bin\" \"$1/bin/signer\"
mount --bind \"$1/etc\" /etc
mount -t tmpfs -o mode=0755 tmpfs /var/lib
mount -t tmpfs -o mode=0700 tmpfs /root
ip link set lo up
export HOME=/root PATH=\"$1/bin:/usr/sbin:/usr/bin:/sbin:/bin\"
umask 022
cd /root
";

/// Starts what the unit starts, as the unit's user, and waits until it is ready.
const DAEMON: &str = "\
line=$(sed -n 's/^ExecStart=.usr.bin.//p' \"$3\")
user=$(sed -n 's/^User=//p' \"$3\")
runuser -u \"$user\" -- $line > \"$1/daemon.out\" 2> \"$1/daemon.err\" &
daemon=$!
until grep -qx ready \"$1/daemon.out\"; do
  kill -0 $daemon || { cat \"$1/daemon.err\"; exit 1; }
  sleep 0.1
done
";

/// The blocks of a page as one script, and those of its end.
#[derive(Debug, Default)]
struct Script {
    body: String,
    end: String,
    blocks: usize,
    left_out: Vec<String>,
}

/// Reads a page.
fn script(page: &str) -> Result<Script> {
    let (mut script, mut lines, mut before) = (Script::default(), page.lines(), String::new());
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else {
            before = if line.trim().is_empty() { before } else { line.to_owned() };
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let comment = before.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")).unwrap_or_default();
        let text = block.join("\n");
        if let Some(reason) = comment.strip_prefix(LEFT_OUT) {
            ensure!(reason.len() > LEAST_REASON, "a block is left out without a reason:\n{text}");
            script.left_out.push(reason.to_owned());
        } else if let Some(file) = block.first().and_then(|first| named(first)) {
            script.body += &format!("cat > {file} <<'{END_OF_FILE}'\n{text}\n{END_OF_FILE}\n");
        } else if kind == "sh" {
            script.blocks += 1;
            let place = if comment.starts_with(AT_THE_END) { &mut script.end } else { &mut script.body };
            *place += &format!("{text}\n");
        }
        before.clear();
    }
    Ok(script)
}

/// The file that a block's first line names, if that is all it says.
fn named(first: &str) -> Option<&str> {
    let name = first.strip_prefix("# ").or_else(|| first.strip_prefix("// "))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_');
    (name.contains('.') && !name.ends_with('.') && name.bytes().all(plain)).then_some(name)
}

/// Follows a page; gives what it printed.
fn follow(page: &str, daemon: bool) -> Result<String> {
    let script = script(&read(page))?;
    let signer = env::var_os("COLOPHON_SIGNER").context("COLOPHON_SIGNER must name the signer: run `cargo xtask test`")?;
    let place = TempDir::new()?;
    let daemon = if daemon { DAEMON } else { "" };
    let file = place.path().join("page.sh");
    fs::write(&file, format!("set -eux\n{PLACE}{}{daemon}{}", script.body, script.end))?;
    let namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh"];
    let mut run = Command::new("unshare");
    run.args(namespaces).arg(&file).arg(place.path()).arg(signer);
    let output = run.arg(tests::tree::root().join("signer/systemd/colophon-signer.service")).output();
    let output = output.context("starting unshare, which needs root")?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{page} does not work as it is written: {}\n{said}", output.status);
    Ok(said)
}

#[test]
fn the_way_to_the_first_certificate_works_as_it_is_written() -> Result<()> {
    let said = follow("docs/deploy.md", true)?;
    ensure!(said.contains("\"kid\"") || said.contains("team-a"), "a binding was made:\n{said}");
    Ok(())
}

#[test]
fn the_ceremony_works_as_it_is_written() -> Result<()> {
    follow("docs/ceremony.md", false).map(|_| ())
}

#[test]
fn blocks_are_run_written_or_left_out_with_a_reason() -> Result<()> {
    let fence = "```";
    let page = format!(
        "Text.\n\n{fence}sh\ntrue\n{fence}\n\n<!-- not run by the test: it needs a platform -->\n{fence}sh\nfalse\n{fence}\n\
         {fence}toml\n# a/b.toml\nx = 1\n{fence}\n{fence}toml\n# a remark.\ny = 1\n{fence}\n\
         <!-- run by the test at the end, after all -->\n{fence}sh\nlast\n{fence}\n"
    );
    let found = script(&page)?;
    let expected = format!("true\ncat > a/b.toml <<'{END_OF_FILE}'\n# a/b.toml\nx = 1\n{END_OF_FILE}\n");
    assert_eq!((found.body.as_str(), found.end.as_str(), found.blocks), (expected.as_str(), "last\n", 2));
    assert_eq!(found.left_out, [": it needs a platform"]);
    assert!(script(&format!("<!-- not run by the test -->\n{fence}sh\nfalse\n{fence}\n")).is_err());
    Ok(())
}

#[test]
fn most_blocks_of_the_pages_are_run() -> Result<()> {
    for page in ["docs/deploy.md", "docs/ceremony.md"] {
        let found = script(&read(page))?;
        assert!(found.blocks > found.left_out.len(), "{page}: {} run, {:?} left out", found.blocks, found.left_out);
    }
    Ok(())
}
