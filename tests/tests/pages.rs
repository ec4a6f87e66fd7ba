//! Pages of docs/ that are made from the tests. `cargo xtask docs` writes them.

use std::{env, fs};

use tests::{differences, requirements, tree, week};

/// Set: the pages are written. Else they are compared.
const WRITE: &str = "COLOPHON_WRITE_PAGES";

fn check(path: &str, page: &str) {
    if env::var_os(WRITE).is_some() {
        fs::write(tree::root().join(path), page).unwrap_or_else(|error| panic!("{path}: {error}"));
    } else {
        assert!(tree::read(path) == page, "{path} is stale: run `cargo xtask docs`");
    }
}

#[test]
fn the_page_of_demands_is_what_the_lines_over_the_tests_say() {
    check("docs/rfc8555.md", &requirements::page());
}

#[test]
fn the_page_of_differences_is_what_the_table_says() {
    check("docs/pebble.md", &differences::page());
}

#[test]
fn the_tables_of_what_status_costs_are_what_the_simulations_say() {
    check("docs/status.md", &week::page());
}
