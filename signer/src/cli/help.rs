//! What each verb does, what it never does, and an example: the long help.

pub(super) const SIGNER: &str = "\
Signs certificates with keys in PKCS#11 tokens.

`signer serve` is the daemon beside the tokens; all other verbs make what it needs and tell how it is. No verb initialises a token that \
holds anything, makes a second key of a label, overwrites a file, prints a secret, or takes one from the command line or the \
environment. A PIN is read from the credential TOKEN-pin that the service manager gives ($CREDENTIALS_DIRECTORY), or else from the file that is \
named, which nobody else may read, or else it is asked for on the terminal; the daemon asks nobody. Passphrases are in files.

From an empty token to a running issuer: init (or the maker's tool), keygen, csr, root sign (on the offline machine), import-chain, check, \
serve. Each step writes a transcript of what it was asked and what it made.";

pub(super) const INIT: &str = "\
Initialises a free SoftHSM token and sets its user PIN.

Refuses every module that is not SoftHSM's, by what the module says of itself and whatever its file is called: on a YubiKey the same \
PKCS#11 call blocks both PINs and wipes every key. Refuses a label that a token already has; a token that an earlier try left without a user \
PIN is finished by the same command. Label and lengths of both PINs are checked before the token is touched. Hardware tokens are made ready with their \
maker's tool (ykman, sc-hsm-tool, yubihsm-shell).

Example:
  signer init --module /usr/lib/softhsm/libsofthsm2.so --label colophon-a1 --pin-file pin --so-pin-file so-pin";

pub(super) const KEYGEN: &str = "\
Makes a P-256 key inside a token, never to leave it, and writes its public half.

The key is private, sensitive and not extractable, and the token is asked whether it really is; the new key signs once and the signature is \
verified. Never makes a second key of a label, never writes over a file, never exports a private key. For a YubiKey use ykman, which sets \
the PIN and touch policy that the daemon needs.

Example:
  signer keygen --module /usr/lib/softhsm/libsofthsm2.so --token colophon-a1 --pin-file pin --label issuing --out a1.pub";

pub(super) const CSR: &str = "\
Makes a certification request (PKCS#10) that the key in the token signs, to be carried to the offline root.

The token's PIN is tried once. Never changes anything in the token. The root takes the public key from the request, and the name only if it is \
the one that the ceremony file says.

Example:
  signer csr --module /usr/lib/softhsm/libsofthsm2.so --token colophon-a1 --pin-file pin --label issuing \\
    --subject \"CN=Example Issuing 1,O=Example\" --out a1.csr";

pub(super) const ROOT: &str = "\
The offline root: make it, certify issuers under it, sign its CRLs. Run it on a machine without a network.

Each is one ceremony with a file (--ceremony FILE) that says everything that will be signed; a key of the file that is not known is an error \
with its place. What is to be signed is built, signed by a key that is thrown away, read back, and compared with the file and with RFC 5280; \
only those very bytes are then signed by the root's key. The transcript names every rule that was kept.";

pub(super) const ROOT_CREATE: &str = "\
Makes a root certificate. The root's key is in a token, where `keygen` or the maker's tool has made it, or is made now in an encrypted \
file. Never writes over a key or a certificate, and never puts a secret where others may read it or replace it.

A ceremony file:
  subject = \"CN=Example Root,O=Example\"
  days = 7300                       # or not_before and not_after
  [root]
  certificate = \"root.pem\"          # is made
  [root.token]                      # or [root.key] with file and passphrase_file
  module = \"/usr/lib/softhsm/libsofthsm2.so\"
  token = \"root\"
  label = \"root\"
  pin_file = \"root.pin\"

Example:
  signer root create --ceremony create.toml

Without a file, for trials, the key in a file:
  signer root create --subject \"CN=Trial Root\" --days 3650 --key root.key --certificate root.pem --passphrase-file passphrase";

pub(super) const ROOT_SIGN: &str = "\
Certifies one issuer: a CA of path length 0 under the root. The public key comes from the request; everything else from the ceremony file, \
and the request's name must be the file's. Never signs an issuer that outlives its root, that has the root's name or key, or whose \
certificate breaks one rule of the lints.

A ceremony file:
  csr = \"a1.csr\"
  out = \"a1.pem\"
  subject = \"CN=Example Issuing 1,O=Example\"
  days = 1825                                   # or not_before and not_after
  extended_key_usage = [\"serverAuth\", \"clientAuth\"]
  issuer_urls = [\"http://pki.example/root.der\"]
  crl_urls = [\"http://pki.example/root.crl\"]
  [name_constraints]                            # all four empty: none
  permitted_dns = [\"corp.example\"]
  permitted_ip = [\"10.0.0.0/8\"]
  excluded_dns = [\"secret.corp.example\"]
  excluded_ip = [\"::/0\"]
  [root]
  certificate = \"root.pem\"
  [root.key]                                    # or [root.token]
  file = \"root.key\"
  passphrase_file = \"passphrase\"

Example:
  signer root sign --ceremony sign-a1.toml

Without a file, for trials, an issuer without constraints:
  signer root sign --key root.key --certificate root.pem --passphrase-file passphrase --csr a1.csr --days 1825 --out a1.pem";

pub(super) const ROOT_CRL: &str = "\
Signs the root's next CRL. Its number is larger than that of the CRL before, which is read and verified; what that one lists stays listed, as \
it was. Never un-revokes, and never uses a number twice.

A ceremony file:
  number = 2
  previous = \"root-1.crl\"           # left out for number 1 only
  out = \"root-2.crl\"
  form = \"der\"                      # as it is served; or \"pem\"
  next_update_days = 180
  [[revoked]]
  certificate = \"a1.pem\"            # or serial = \"…\", up to 40 hex digits
  reason = \"cACompromise\"
  date = \"2026-11-21T12:00:00Z\"
  [root]
  certificate = \"root.pem\"
  [root.token]
  module = \"/usr/lib/softhsm/libsofthsm2.so\"
  token = \"root\"
  label = \"root\"
  pin_file = \"root.pin\"

Example:
  signer root crl --ceremony crl-2.toml";

pub(super) const IMPORT_CHAIN: &str = "\
Checks what came back from the root and writes the chain file of an issuer: the key is the token's and signs, each certificate is issued by \
the next, the path leads to the root and keeps the path lengths, and all of it is valid now. With --config the profiles, names and addresses \
of the signer's policy are compared with the extended key usages and name constraints of the chain too; the daemon compares them again when it \
starts. Never writes a chain that would not work, and never over another file.

Example:
  signer import-chain --module /usr/lib/softhsm/libsofthsm2.so --token colophon-a1 --pin-file pin --label issuing \\
    --chain a1.pem --root root.pem --config signer.toml --out issuers/a1.pem";

pub(super) const ATTEST: &str = "\
Checks a YubiKey's PIV attestation of a key: that the key was made in a device and cannot leave it, that it is the key of a request, a \
public key or a chain, and what the device says of itself: firmware, serial number, form factor, PIN policy and touch policy. Warns of \
policies that a daemon cannot live with. Never says yes to a key that could have been made elsewhere.

The certificates come from `ykman piv keys attest 9a a1-attestation.pem` and `ykman piv certificates export f9 device.pem`, or are read \
from the token where its module shows them. The maker's root is yours to give, from a place that you trust; nothing is fetched. Devices \
since firmware 5.7.4 need the maker's intermediates too. No PIN is wanted. Dates are not checked: devices have no clock.

Example:
  signer attest --attestation a1-attestation.pem --device device.pem --root yubico-root.pem --csr a1.csr --json";

pub(super) const LIST: &str = "\
Lists the tokens that a module shows, and the P-256 keys that they show without a login, with the SHA-256 of each public key. Never logs \
in, so no try of a PIN is spent.

Example:
  signer list --module /usr/lib/x86_64-linux-gnu/opensc-pkcs11.so --json";

pub(super) const CHECK: &str = "\
Says what is wrong with a configuration: the file itself, the TLS files and their dates, what the policy gives against what each issuer's chain \
permits, each issuer's dates, whether each token is there with the issuer's key, and whether the PIN files are as private as they must be and \
have PINs of the token's lengths. Never logs in and never listens. Run it as the daemon's user, who must be able to read all of it. Ends with 1 when \
something is bad.

Example:
  signer check --config /etc/colophon/signer.toml --json";

pub(super) const BENCH: &str = "\
Measures signatures per second of each token of a configuration and of all at once, with median, 99th percentile, and the first against \
the last minute. Logs in as the daemon would and takes the same care of PINs. Never signs what anybody could use: it is thrown away. Do not run it beside the daemon: \
both would wait for the same tokens.

Example:
  signer bench --config /etc/colophon/signer.toml --seconds 300";

pub(super) const SIGN_TEST: &str = "\
Lets each token sign three times and verifies each signature. One is not enough: a key that wants its PIN for every signature passes the first \
and fails the second. Never signs what anybody could use: it is thrown away.

Example:
  signer sign-test --config /etc/colophon/signer.toml";

pub(super) const PIN_OK: &str = "\
Says that the PIN in a token's file is right, after the token or a crash has spoken against it: the daemon then tries it once more. Never \
talks to the token itself. A token that is locked, or one wrong PIN from it, is still left alone.

Example:
  signer pin-ok --config /etc/colophon/signer.toml --token a1-0";

pub(super) const EAB: &str = "\
Hands out external account bindings, lists them and ends them. A binding gives accounts the names of one scope of signer.toml; its key goes to \
a client and stays in the file of bindings, which all signers of a deployment read. Needs [grants] in signer.toml. Never prints a \
key a second time, never makes a second binding of a key id. The daemon may run: it has a change within a second.

Example:
  signer eab new --config /etc/colophon/signer.toml --scope databases --uses 20 --expires 365";

pub(super) const JOURNAL: &str = "\
Reads the journal of a daemon: every intent, signature and revocation, chained by hashes. Never changes it; the daemon may run meanwhile.

Example:
  signer journal verify --config /etc/colophon/signer.toml";

pub(super) const SERVE: &str = "\
Runs the daemon in the foreground: listens for edges, and starts one process for each token. Prints \"ready\" when it listens. Reads its TLS \
files and its policy again at SIGHUP and when they change. Ends with 78 when starting it again would not help: a bad configuration, a broken \
journal, a rejected PIN. A PIN that a token rejected is never tried again until `pin-ok` or another PIN.

Example:
  signer serve --config /etc/colophon/signer.toml";

pub(super) const MANUAL: &str = "\
Prints the manual page of the program, or of one verb, for man(1); or writes all of them into a new folder, as a package of the program needs \
them.

Example:
  signer manual root sign | man -l -";

pub(super) const STOP: &str = "\
Stops an edge, an external account binding, a scope, or all certificates.

A daemon that runs follows within a second, for connections that are open and jobs that wait too; what is in a token is not let out. It \
stays stopped, across restarts, until `signer resume`. Both are journaled. Orders that were stopped stay `processing` and are signed when \
they are let go on. Status is still told, and revocations are still taken, except of a stopped edge.

Works also while the configuration is wrong: then the names are not compared with it, and a warning says why. Where not even its `state` can be \
read, `--state` names the folder.

Example:
  signer stop --config signer.toml --scope web
  signer stop --state /var/lib/colophon --everything";

pub(super) const RESUME: &str = "\
Lets go on what `signer stop` has stopped: everything that is named, and nothing else.

Example:
  signer resume --config signer.toml --scope web";
