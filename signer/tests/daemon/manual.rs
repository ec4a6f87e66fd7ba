//! What the program says about itself.

use crate::site::Site;

#[test]
fn every_verb_has_a_page_and_an_example() {
    let site = Site::without_issuers();
    let verbs = [
        "init",
        "keygen",
        "csr",
        "root create",
        "root sign",
        "root crl",
        "import-chain",
        "attest",
        "list",
        "check",
        "bench",
        "sign-test",
        "pin-ok",
        "eab",
        "journal",
        "serve",
        "manual",
    ];
    for verb in verbs {
        let help = site.signer_ok(&format!("{verb} --help"));
        let bounds = ["never", "refuse"].iter().any(|word| help.to_lowercase().contains(word));
        assert!(help.contains("Example:\n  signer ") && (bounds || verb == "manual"), "{verb}: {help}");
        let page = site.signer_ok(&format!("manual {verb}"));
        assert!(page.contains(".TH") && page.contains(".SH SYNOPSIS"), "{verb}: {page}");
    }
    let page = site.signer_ok("manual");
    assert!(page.contains("signer\\-root") && !page.contains("worker"), "{page}");
    site.signer_fails("manual nonsense");
    site.signer_ok("manual --out pages");
    let page = |name: &str| std::fs::read_to_string(site.path(&format!("pages/{name}.1"))).unwrap();
    assert!(page("signer").contains("signer\\-root") && page("signer-root-sign").contains(".SH SYNOPSIS"));
    assert!(!site.path("pages/signer-worker.1").exists());
    assert!(site.signer_fails("manual --out pages").contains("exists"), "nothing is written over");
}
