//! A question on the terminal whose answer is not shown.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// A longer line is cut, and has no newline at its end then.
const LINE_MAX_BYTES: usize = 256;

/// Asks, and gives the line that was typed with its newline. What was typed before the question counts for nothing.
pub(super) fn ask(question: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    // The terminal itself: stdin and stdout may be something else's.
    let mut silent = Silent::of(OpenOptions::new().read(true).write(true).open("/dev/tty")?)?;
    silent.terminal.write_all(question.as_bytes())?;
    let mut line = Zeroizing::new(vec![0; LINE_MAX_BYTES]);
    // A terminal gives a line at a time.
    let length = silent.terminal.read(&mut line)?;
    line.truncate(length);
    Ok(line)
}

/// A terminal that shows nothing of what is typed but the newline, until this is dropped.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn of(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut modes = before.clone();
        modes.local_flags.remove(LocalFlags::ECHO);
        modes.local_flags.insert(LocalFlags::ECHONL | LocalFlags::ICANON);
        let silent = Self { terminal, before };
        // Before the question, so that an answer that comes at once is not shown either.
        tcsetattr(&silent.terminal, SetArg::TCSAFLUSH, &modes)?;
        Ok(silent)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}
