//! What users and images may be called: refused, never changed, and no name reaches a file that is not its own.

use super::{Case, request, smuggled};

/// Users and names, as they stand in a path.
const REFUSED: [(&str, &str); 66] = [
    ("alice", ".png"),
    ("alice", "..png"),
    ("alice", "...png"),
    ("alice", ".hidden.png"),
    ("alice", "-rf.png"),
    ("alice", "cat"),
    ("alice", "cat."),
    ("alice", "cat.png."),
    ("alice", "cat.png%20"),
    ("alice", "cat.jpg"),
    ("alice", "cat.png.exe"),
    ("alice", "cat..png"),
    ("alice", "a..b.png"),
    ("alice", "c:at.png"),
    ("alice", "c%3aat.png"),
    ("alice", "cat.png:stream"),
    ("alice", "c*at.png"),
    ("alice", "c%3fat.png"),
    ("alice", "c%22at.png"),
    ("alice", "c%3cat.png"),
    ("alice", "c%7cat.png"),
    ("alice", "%252e%252e%252fcat.png"),
    ("alice", "%2e%2e%2fcat.png"),
    ("alice", "..%2fcat.png"),
    ("alice", "..%5ccat.png"),
    ("alice", "%2fetc%2fcat.png"),
    ("alice", "a%2fcat.png"),
    ("alice", "a%5ccat.png"),
    ("alice", "%00.png"),
    ("alice", "cat.png%00"),
    ("alice", "cat%00.png"),
    ("alice", "cat.png%00.jpg"),
    ("alice", "cat%0a.png"),
    ("alice", "cat%0d%0a.png"),
    ("alice", "cat%7f.png"),
    ("alice", "cat%1b.png"),
    ("alice", "%e2%80%aegnp.tac.png"),
    ("alice", "cat%e3%80%82png"),
    ("alice", "CON.png"),
    ("alice", "con.png"),
    ("alice", "nul.x.png"),
    ("alice", "Aux.png"),
    ("alice", "PRN.png"),
    ("alice", "COM1.png"),
    ("alice", "lpt9.png"),
    ("alice", "%20cat.png"),
    ("alice", "cat%20.png"),
    ("alice", "%c2%a0cat.png"),
    ("alice", "cat%e2%80%8b.png"),
    ("alice", "cat%e2%80%a8.png"),
    ("alice", "cat%c2%9b.png"),
    ("alice", "cat%ef%bf%bf.png"),
    ("alice", "%ef%bb%bfcat.png"),
    ("alice", "%c0%ae%c0%ae%c0%afcat.png"),
    ("alice", "cat%ed%a0%80.png"),
    ("alice", "cat%ff.png"),
    ("alice", "com%c2%b9.png"),
    ("alice", "a%253a.png"),
    (".", "cat.png"),
    ("..", "cat.png"),
    ("%2e%2e", "cat.png"),
    (".pixseal", "1-0.png"),
    ("al.ice", "cat.png"),
    ("-alice", "cat.png"),
    ("al%20ice", "cat.png"),
    ("al%2fice", "cat.png"),
];

pub(super) fn rows(host: &str) -> Vec<Case> {
    let long_name = format!("{}.png", "a".repeat(197));
    let long_user = "u".repeat(65);
    let too_long_together = (&"u".repeat(64)[..], &format!("{}.png", "a".repeat(190))[..]);
    let refused = REFUSED
        .into_iter()
        .map(|(user, name)| (user.to_owned(), name.to_owned()))
        .chain([
            ("alice".to_owned(), long_name),
            (long_user, "cat.png".to_owned()),
            (too_long_together.0.to_owned(), too_long_together.1.to_owned()),
        ]);
    let mut rows = Vec::new();
    for (user, name) in refused {
        for method in ["GET", "PUT", "DELETE"] {
            let line = format!("{method} /images/{user}/{name}");
            let (fields, body) = if method == "PUT" {
                ("Content-Length: 500\r\nExpect: 100-continue\r\n", smuggled(host))
            } else {
                ("", Vec::new())
            };
            rows.push(Case::closing(
                line.clone(),
                &[400],
                request(&line, host, fields, &body),
            ));
        }
    }
    rows
}
