//! What this tree must never hold. Each rule is an absence, and says where.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use tests::tree::{Source, read, root, sources};

/// Lines after which a file holds a second noun.
const MOST_LINES: usize = 600;

/// The crates of RustCrypto's one generation; a second version of one of them would have to be named here, with its reason.
const ONE_GENERATION: [&str; 7] = ["der", "digest", "p256", "sha2", "signature", "spki", "x509-cert"];

fn rust(folder: &str) -> Vec<Source> {
    let mut files = sources(folder);
    files.retain(|file| file.path.ends_with(".rs"));
    assert!(!files.is_empty(), "{folder} holds no Rust");
    files
}

/// `path:line` of each line that holds one of these, comments aside.
fn mentions(files: &[Source], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.text.lines()) {
            let code = if line.trim_start().starts_with("//") { "" } else { line };
            found.extend(
                words.iter().filter(|word| code.contains(**word)).map(|word| format!("{}:{number}: {word}", file.path)),
            );
        }
    }
    found
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// All dependencies of a member that a manifest names, of every kind and target.
fn dependencies(member: &str) -> BTreeSet<String> {
    fn collect(table: &toml::Table, found: &mut BTreeSet<String>) {
        for (key, value) in table {
            let Some(table) = value.as_table() else { continue };
            if key.ends_with("dependencies") {
                found.extend(table.keys().cloned());
            } else {
                collect(table, found);
            }
        }
    }
    let mut found = BTreeSet::new();
    collect(&read(&format!("{member}/Cargo.toml")).parse().expect("a manifest is TOML"), &mut found);
    found
}

#[test]
fn edge_and_signer_never_import_each_other_and_shared_imports_neither() {
    assert!(!dependencies("edge").contains("signer"));
    assert!(!dependencies("signer").contains("edge"));
    let shared = dependencies("shared");
    assert!(!shared.contains("edge") && !shared.contains("signer"), "{shared:?}");
}

#[test]
fn the_pure_core_knows_no_platform_no_clock_and_no_waiting() {
    let words =
        ["worker::", "async ", ".await", "SystemTime", "Instant", "tokio", "std::fs", "std::net::Tcp", "getrandom"];
    none("not pure", &mentions(&rust("edge/src/acme"), &words));
    none("not pure", &mentions(&rust("edge/src/tls"), &words));
    none("not pure", &mentions(&rust("shared/src"), &words));
}

#[test]
fn inside_the_edge_the_core_never_looks_at_the_platform() {
    none(
        "the core looks back",
        &mentions(
            &rust("edge/src/acme"),
            &["crate::workers", "super::super::workers", "js_sys", "wasm_bindgen", "rustls"],
        ),
    );
    none("TLS looks back", &mentions(&rust("edge/src/tls"), &["crate::workers", "js_sys", "wasm_bindgen"]));
}

#[test]
fn no_file_holds_two_nouns() {
    let long = |file: &&Source| file.text.lines().count() > MOST_LINES;
    let found: Vec<_> = sources("").into_iter().filter(|file| file.path.ends_with(".rs")).collect();
    let found: Vec<_> = found.iter().filter(long).map(|file| file.path.clone()).collect();
    none("over 600 lines", &found);
}

#[test]
fn nothing_is_left_for_later() {
    let words = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
    ];
    let mut found = Vec::new();
    for file in sources("") {
        let made_by_tools = file.path.ends_with(".lock") || file.path.ends_with("package-lock.json");
        for (number, line) in (1..).zip(file.text.lines()).filter(|_| !made_by_tools) {
            found.extend(words.iter().filter(|word| line.contains(**word)).map(|_| format!("{}:{number}", file.path)));
        }
    }
    none("left for later", &found);
}

#[test]
fn every_exception_to_a_lint_has_its_reason() {
    let mut found = Vec::new();
    for file in rust("") {
        for opening in
            [concat!("#[al", "low("), concat!("#![al", "low("), concat!("#[ex", "pect("), concat!("#![ex", "pect(")]
        {
            for (start, _) in file.text.match_indices(opening) {
                let attribute = &file.text[start..];
                let end = attribute.find(")]").expect("an attribute ends");
                if !attribute[..end].contains("reason = \"") {
                    found.push(format!("{}: {}", file.path, &attribute[..end]));
                }
            }
        }
    }
    none("no reason", &found);
}

#[test]
fn the_readmes_map_is_the_tree() {
    let readme = read("README.md");
    let map = readme.split("## The map").nth(1).expect("the README has a map");
    let map = map.split("\n## ").next().unwrap_or_default();
    let rows = map.lines().filter(|line| line.starts_with('|'));
    let named: BTreeSet<&str> =
        rows.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    for path in &named {
        assert!(root().join(path).exists(), "the map names {path}, which is not there");
    }
    let named: BTreeSet<&str> = named.iter().filter_map(|path| path.split('/').next()).collect();
    // What the version control keeps; what is made is ignored there.
    let ignored = read(".gitignore");
    for entry in fs::read_dir(root()).expect("the workspace can be read").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let made = name.starts_with('.') || ignored.lines().any(|line| line.trim_matches('/') == name);
        if entry.path().is_dir() && !made {
            assert!(named.contains(name.as_str()), "the map does not name {name}");
        }
    }
    for (start, _) in readme.match_indices("](docs/") {
        let link = readme[start + 2..].split(')').next().unwrap_or_default();
        assert!(root().join(link).exists(), "the README links to {link}, which is not there");
    }
}

#[test]
fn no_text_names_a_registry_or_a_place_of_its_making() {
    let words = [
        concat!("crates", ".io"),
        concat!("npmjs", ".org"),
        concat!("npmjs", ".com"),
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("deb.debian", ".org"),
        concat!("proxy.golang", ".org"),
        concat!("static.rust-lang", ".org"),
        concat!("/work", "/"),
        concat!("issue", " #"),
        concat!("issue", "s/"),
    ];
    let mut found = Vec::new();
    for file in sources("") {
        for (number, line) in (1..).zip(file.text.lines()) {
            // Cargo's own name of its registry, on lines that cargo writes.
            if file.path.ends_with("Cargo.lock") && line.starts_with("source = ") {
                continue;
            }
            found.extend(
                words.iter().filter(|word| line.contains(**word)).map(|word| format!("{}:{number}: {word}", file.path)),
            );
        }
    }
    none("names what it must not", &found);
}

#[test]
fn there_is_one_generation_of_cryptography() {
    let lock: toml::Table = read("Cargo.lock").parse().expect("the lock is TOML");
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in lock["package"].as_array().expect("the lock has packages") {
        let (name, version) = (package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        versions.entry(name).or_default().push(version);
    }
    for name in ONE_GENERATION {
        assert_eq!(versions[name].len(), 1, "{name}: {:?}", versions[name]);
    }
}

#[test]
fn the_lock_of_the_javascript_tools_names_no_place() {
    assert!(!read("xtask/npm/package-lock.json").contains(concat!("\"reso", "lved\"")));
}

#[test]
fn test_names_are_sentences() {
    let mut found = Vec::new();
    for file in rust("") {
        let mut lines = file.text.lines().peekable();
        while let Some(line) = lines.next() {
            if line.trim() != "#[test]" {
                continue;
            }
            let name = lines.find_map(|line| line.trim().strip_prefix("fn ").or(line.trim().strip_prefix("async fn ")));
            let name = name.and_then(|name| name.split('(').next()).unwrap_or_default();
            // A table of all (state, event) pairs says what it shows in its rows.
            if name.split('_').count() < 3 && !name.ends_with("_table") {
                found.push(format!("{}: {name}", file.path));
            }
        }
    }
    none("not a sentence", &found);
}
