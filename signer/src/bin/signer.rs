//! The signer: a daemon beside its HSMs, and the commands of its ceremonies.

fn main() -> std::process::ExitCode {
    signer::run(signer::Tokens::AsTheyAre)
}
