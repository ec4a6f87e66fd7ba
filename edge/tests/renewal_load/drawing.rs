//! The picture: two curves on one scale, signatures in each quarter of an hour.

use std::fmt::Write as _;

use crate::estate::{CERTIFICATES, Course, WEEK, Week};

const LEFT: f64 = 56.0;
const WIDTH: f64 = 672.0;
const HEIGHT: f64 = 150.0;

/// Both weeks, one above the other.
pub(crate) fn svg(before: &Week, after: &Week) -> String {
    let mut picture = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 450\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Signatures in each quarter of an hour: 50,000 certificates on 20 tokens over a week</title>\n\
         <rect width=\"760\" height=\"450\" fill=\"#fff\"/>\n",
    );
    panel(&mut picture, 40.0, Course::TwoThirds, before);
    panel(&mut picture, 245.0, Course::RenewalInformation, after);
    picture.push_str("<text x=\"56\" y=\"440\" fill=\"#555\">Monday 00:00: all clients restart. Thursday: every second one. Saturday: one issuer of twenty is drained.</text>\n</svg>\n");
    picture
}

fn panel(picture: &mut String, top: f64, course: Course, week: &Week) {
    let most = CERTIFICATES as f64;
    let bottom = top + HEIGHT;
    let y = |count: f64| bottom - HEIGHT * count / most;
    // But for the hours of the restarts themselves.
    let (first, second) = (&week.signatures[4..3 * 96], &week.signatures[3 * 96 + 4..]);
    let most_else = first.iter().chain(second).max().unwrap();
    let (words, colour) = match course {
        Course::TwoThirds => ("every client at two thirds of its certificate's life", "#b3402a"),
        Course::RenewalInformation => ("windows by renewal information (RFC 9773)", "#1f6f8b"),
    };
    writeln!(picture, "<text x=\"{LEFT}\" y=\"{}\" fill=\"#111\" font-weight=\"bold\">{words}</text>", top - 10.0)
        .unwrap();
    let peak = format!("but for the restarts at most {} in 15 minutes", grouped(*most_else));
    let right = LEFT + WIDTH;
    writeln!(picture, "<text x=\"{right}\" y=\"{}\" fill=\"#555\" text-anchor=\"end\">{peak}</text>", top - 10.0)
        .unwrap();
    for count in [0, 25_000, 50_000] {
        let at = y(f64::from(count));
        writeln!(picture, "<path d=\"M{LEFT} {at}h{WIDTH}\" stroke=\"#ddd\"/>").unwrap();
        let (x, y) = (LEFT - 6.0, at + 4.0);
        writeln!(picture, "<text x=\"{x}\" y=\"{y}\" fill=\"#555\" text-anchor=\"end\">{}</text>", grouped(count))
            .unwrap();
    }
    let step = WIDTH / (WEEK as f64 / 86_400.0);
    for (index, day) in ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].iter().enumerate() {
        let x = LEFT + step * index as f64;
        writeln!(picture, "<path d=\"M{x} {bottom}v4\" stroke=\"#555\"/>").unwrap();
        writeln!(picture, "<text x=\"{}\" y=\"{}\" fill=\"#555\">{day}</text>", x + 4.0, bottom + 15.0).unwrap();
    }
    // One unit of width is one slot.
    write!(picture, "<path fill=\"{colour}\" d=\"M{LEFT} {bottom}").unwrap();
    let mut last = bottom;
    for count in &week.signatures {
        let at = (y(f64::from(*count)) * 10.0).round() / 10.0;
        if at != last {
            write!(picture, "v{:.1}", at - last).unwrap();
        }
        picture.push_str("h1");
        last = at;
    }
    writeln!(picture, "V{bottom}z\"/>").unwrap();
}

/// With a comma between thousands.
fn grouped(count: u32) -> String {
    if count < 1000 { count.to_string() } else { format!("{},{:03}", count / 1000, count % 1000) }
}
