//! The signer for tests of waiting: the same program, in which a token may be told to take its time (`latency_ms`).

fn main() -> std::process::ExitCode {
    signer::run(signer::Tokens::MayBeSlowed)
}
